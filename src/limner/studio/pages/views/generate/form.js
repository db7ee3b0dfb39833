// The form of a request: prompts, base, and the usual knobs.

import { element, replace } from "../../lib/dom.js";
import { row } from "../../lib/form.js";
import { hiresPart } from "./hires.js";
import { promptBox } from "./prompt.js";
import { sizes } from "./sizes.js";

const NUMBERS = {
  steps: { label: "Steps", value: 20, min: 1, max: 150, step: 1, help: "" },
  cfg_scale: { label: "CFG scale", value: 7, min: 0, max: 50, step: "any", help: "How much the prompt counts." },
  count: { label: "Pictures", value: 1, min: 1, max: 100, step: 1, help: "" },
  batch_size: { label: "At once", value: 1, min: 1, max: 16, step: 1, help: "More are faster on a GPU, and take memory." },
  subseed_strength: { label: "Variation", value: 0, min: 0, max: 1, step: "any", help: "How far to go from the seed's noise to another's." },
  subseed: { label: "Variation seed", value: -1, min: -1, max: Number.MAX_SAFE_INTEGER, step: 1, help: "Of that other noise; -1 takes any." },
  clip_skip: { label: "Clip skip", value: 1, min: 1, max: 24, step: 1, help: "Layers of the text encoder that are left out, and one." },
};
const WIDE = "(min-width: 56rem)"; // as in generate.css
const MOST_SEED = 2 ** 32;

/** pictureForm(bases, samplers, draw, lastSeed): place, values() gives the request, fill(values) sets
 * those that are given. */
export function pictureForm(bases, samplers, draw, lastSeed) {
  const prompt = promptBox("Prompt", "prompt", draw);
  const negative = promptBox("Negative prompt", "negative_prompt", draw);
  const base = element("select", {}, bases.map((each) => element("option", { value: each.name }, named(each))));
  const sampler = element("select", {}, samplers.map((each) => element("option", { value: each.name }, each.name)));
  const schedule = element("select");
  const numbers = Object.fromEntries(Object.entries(NUMBERS).map(([name, { value, min, max, step }]) => [
    name, element("input", { type: "number", value, min, max, step, required: true, inputmode: "decimal" }),
  ]));
  const size = sizes();
  const hires = hiresPart();
  const seed = seedPart(lastSeed);
  const plain = { base, sampler, schedule, ...numbers };

  function schedules() {
    const offered = samplers.find((each) => each.name === sampler.value)?.schedules ?? [];
    const now = schedule.value;
    replace(schedule, offered.map((name) => element("option", { value: name }, name)));
    choose(schedule, now);
    if (schedule.selectedIndex < 0) schedule.selectedIndex = 0;
  }

  function family() {
    size.offer(bases.find((each) => each.name === base.value));
  }

  sampler.addEventListener("change", schedules);
  base.addEventListener("change", family);
  const place = element(
    "form",
    {
      class: "card",
      "aria-label": "What to draw",
      onsubmit(event) {
        event.preventDefault();
        draw();
      },
      onkeydown(event) {
        if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
        event.preventDefault();
        if (place.reportValidity()) draw();
      },
    },
    prompt.place,
    negative.place,
    row({ name: "base", label: "Base", help: "", type: "choice" }, base),
    element("button", { class: "main wide", type: "submit", "aria-keyshortcuts": "Control+Enter" }, "Draw", element("kbd", {}, "Ctrl Enter")),
    element(
      "details",
      { open: matchMedia(WIDE).matches }, // on a phone the pictures should not be far
      element("summary", {}, "Settings"),
      element(
        "div",
        { class: "knobs" },
        number("steps"),
        number("cfg_scale"),
        row({ name: "sampler", label: "Sampler", help: "", type: "choice" }, sampler),
        row({ name: "schedule", label: "Schedule", help: "", type: "choice" }, schedule),
        size.place,
        seed.place,
        number("count"),
        number("batch_size"),
      ),
    ),
    element("details", {}, element("summary", {}, "More"), element("div", { class: "knobs" }, number("subseed_strength"), number("subseed"), number("clip_skip"))),
    hires.place,
  );

  function number(name) {
    return row({ name, label: NUMBERS[name].label, help: NUMBERS[name].help, type: "number" }, numbers[name]);
  }

  function values() {
    return {
      prompt: prompt.value,
      negative_prompt: negative.value,
      base: base.value,
      sampler: sampler.value,
      schedule: schedule.value,
      ...Object.fromEntries(Object.entries(numbers).map(([name, control]) => [name, Number(control.value)])),
      ...size.values(),
      hires: hires.value(),
      seed: seed.value,
    };
  }

  function fill(given) {
    if ("prompt" in given) prompt.value = String(given.prompt);
    if ("negative_prompt" in given) negative.value = String(given.negative_prompt);
    if ("base" in given) choose(base, given.base);
    if ("sampler" in given) choose(sampler, given.sampler);
    schedules();
    if ("schedule" in given) choose(schedule, given.schedule);
    for (const [name, control] of Object.entries(numbers)) {
      if (name in given && given[name] !== null) control.value = given[name];
    }
    family();
    size.fill(given);
    if ("hires" in given) hires.fill(given.hires);
    if ("seed" in given) seed.value = given.seed;
  }

  // what is wrong in a closed part must be seen
  place.addEventListener("invalid", (event) => {
    for (let part = event.target.closest("details"); part; part = part.parentElement.closest("details")) part.open = true;
  }, true);
  schedules();
  family();
  const resize = (width, height) => size.fill({ width, height });
  return { place, values, fill, resize, focus: () => prompt.focus() };
}

/** lastSeed(): the newest picture's, undefined if there is none. */
function seedPart(lastSeed) {
  const control = element("input", {
    type: "number", value: -1, min: -1, max: Number.MAX_SAFE_INTEGER, step: 1, required: true, inputmode: "numeric",
  });
  const place = row({ name: "seed", label: "Seed", help: "-1 takes another one each time.", type: "integer" }, control);
  const button = (label, help, seed) =>
    element(
      "button",
      {
        type: "button",
        title: help,
        "aria-label": help,
        onclick() {
          control.value = seed() ?? control.value;
          control.dispatchEvent(new Event("input", { bubbles: true }));
        },
      },
      label,
    );
  const buttons = element(
    "div",
    { class: "bar tight" },
    button("Any", "Another seed each time", () => -1),
    button("Dice", "A seed by chance, that stays", () => Math.floor(Math.random() * MOST_SEED)),
    button("Last", "The newest picture's seed", lastSeed),
  );
  control.after(buttons);
  return {
    place,
    get value() {
      return control.value === "" ? -1 : Number(control.value);
    },
    set value(given) {
      control.value = given;
    },
  };
}

function named(model) {
  return model.family ? `${model.title} (${model.family})` : model.title;
}

/** Choose an option by its value, whatever its case; nothing changes if there is none. */
function choose(select, value) {
  const wanted = String(value).toLowerCase();
  const found = [...select.options].find((option) => option.value.toLowerCase() === wanted);
  if (found) select.value = found.value;
}
