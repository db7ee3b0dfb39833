// A grid: what changes along its columns, rows and tables.

import { element, replace } from "../../lib/dom.js";

const AXES = { x: "Columns", y: "Rows", z: "Tables" };
const NAMES = {
  words: "words of the prompt",
  weight: "weight of a LoRA",
  seed: "seed",
  base: "base",
  sampler: "sampler",
  schedule: "schedule",
  cfg_scale: "CFG scale",
  steps: "steps",
  clip_skip: "clip skip",
  width: "width",
  height: "height",
};
const HELP = {
  words: "One a line. The first stands in the prompt; the others take its place.",
  weight: "Weights with commas between, as in 0, 0.5, 1.",
  seed: "Seeds with commas between; 1-4 is 1, 2, 3, 4.",
};
const NUMBERS = "Values with commas between, as in 10, 20, 30.";
const RANGE = /^(\d+)-(\d+)$/;
const MOST = 100; // values of an axis
const LORA = /<(?:lora|lyco):([^<>:]+)/g;

/** gridPart(bases, samplers, prompt, draw): prompt() gives the form's. read() gives the axes, as the request has them. */
export function gridPart(bases, samplers, prompt, draw) {
  const choices = {
    base: bases.map((each) => each.name),
    sampler: samplers.map((each) => each.name),
    schedule: [...new Set(samplers.flatMap((each) => each.schedules))],
  };
  const axes = Object.fromEntries(Object.keys(AXES).map((letter) => [letter, axisPart(letter, choices, prompt)]));
  const place = element(
    "details",
    { class: "axes" },
    element("summary", {}, "Grid"),
    element("p", { class: "help" }, "Pictures that differ along two or three directions, on one labelled page."),
    Object.values(axes).map((axis) => axis.place),
    element("button", { type: "button", onclick: () => place.closest("form").reportValidity() && draw() }, "Draw the grid"),
  );
  const read = () => Object.fromEntries(Object.entries(axes).map(([letter, axis]) => [letter, axis.value]));
  return {
    place,
    read,
    values: read,
    fill(given) {
      for (const [letter, axis] of Object.entries(axes)) if (letter in given) axis.value = given[letter];
      if (Object.keys(axes).some((letter) => given[letter])) place.open = true;
    },
  };
}

function axisPart(letter, choices, prompt) {
  const id = `grid-${letter}`;
  const name = element("select", { id, onchange: () => show([]) }, [
    element("option", { value: "" }, "nothing changes"),
    Object.entries(NAMES).map(([value, title]) => element("option", { value }, title)),
  ]);
  const held = element("div", {});
  let values = () => [];
  let lora = () => "";

  function show(given, ofLora = "") {
    lora = () => "";
    if (name.value === "") {
      values = () => [];
      replace(held);
    } else if (name.value in choices) {
      replace(held, boxes(choices[name.value], given));
      values = () => [...held.querySelectorAll("input:checked")].map((box) => box.value);
    } else {
      const isWords = name.value === "words";
      const control = isWords ? element("textarea", { rows: 3 }) : element("input", { type: "text" });
      control.value = given.join(isWords ? "\n" : ", ");
      values = () => split(control.value, isWords);
      replace(held, name.value === "weight" ? which(ofLora) : null, labelled(control));
    }
  }

  function labelled(control) {
    control.setAttribute("aria-label", `${AXES[letter]}: values`);
    control.setAttribute("aria-describedby", `${id}-help`);
    return [control, element("p", { class: "help", id: `${id}-help` }, HELP[name.value] ?? NUMBERS)];
  }

  function boxes(all, given) {
    return element(
      "fieldset",
      { class: "choices" },
      element("legend", {}, `${AXES[letter]}: ${NAMES[name.value]}`),
      all.map((value) => element("label", {}, element("input", { type: "checkbox", value, checked: given.includes(value) }), value)),
    );
  }

  /** The LoRAs that the prompt names now. */
  function which(ofLora) {
    const control = element("select", { "aria-label": `${AXES[letter]}: which LoRA`, onfocus: fill });
    function fill() {
      const now = control.value || ofLora;
      const named = [...new Set([...prompt().matchAll(LORA)].map((match) => match[1]))];
      replace(control, element("option", { value: "" }, "the prompt's first LoRA"), named.map((each) => element("option", { value: each }, each)));
      control.value = named.includes(now) ? now : "";
    }
    fill();
    lora = () => control.value;
    return control;
  }

  return {
    place: element("div", { class: "row" }, element("label", { for: id }, AXES[letter]), name, held),
    get value() {
      return name.value ? { name: name.value, values: values(), lora: lora() } : null;
    },
    set value(given) {
      name.value = given?.name ?? "";
      show(given?.values ?? [], given?.lora ?? "");
    },
  };
}

function split(text, isLines) {
  const plain = text.split(isLines ? "\n" : /[,\n]/).map((each) => each.trim()).filter(Boolean);
  return isLines ? plain : plain.flatMap(expanded);
}

/** 1-4 is 1, 2, 3, 4. */
function expanded(value) {
  const found = RANGE.exec(value);
  if (!found) return [value];
  const [from, to] = [Number(found[1]), Number(found[2])];
  if (to < from || to - from >= MOST) return [value];
  return Array.from({ length: to - from + 1 }, (_, step) => String(from + step));
}
