// A second pass: what was drawn is made larger and drawn again.

import { element } from "../../lib/dom.js";
import { row } from "../../lib/form.js";

const UPSCALERS = [
  "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)",
  "Latent (nearest-exact)", "Lanczos", "Nearest",
];
const NUMBERS = {
  scale: { label: "Times larger", value: 2, min: 1, max: 8, step: "any", help: "" },
  strength: { label: "Its strength", value: 0.7, min: 0.01, max: 1, step: "any", help: "How far to leave what was drawn first." },
  steps: { label: "Its steps", value: 0, min: 0, max: 150, step: 1, help: "0 takes as many as the first pass has." },
};

/** hiresPart(): place, value() the request's hires, null for none, fill(hires). */
export function hiresPart() {
  const upscaler = element("select", { onchange: show }, [
    element("option", { value: "" }, "no second pass"),
    UPSCALERS.map((name) => element("option", { value: name }, name)),
  ]);
  const numbers = Object.fromEntries(Object.entries(NUMBERS).map(([name, { value, min, max, step }]) => [
    name, element("input", { type: "number", value, min, max, step, required: true, inputmode: "decimal" }),
  ]));
  let size = {}; // that a picture's text tells instead of how many times
  numbers.scale.addEventListener("input", () => { size = {}; });
  const knobs = element("div", { class: "knobs" }, Object.entries(NUMBERS).map(([name, { label, help }]) =>
    row({ name: `hires-${name}`, label, help, type: "number" }, numbers[name])));
  const place = element(
    "details",
    {},
    element("summary", {}, "Enlarge"),
    row({ name: "upscaler", label: "Upscaler", help: "Draws a second time, larger, from what was drawn first.", type: "choice" }, upscaler),
    knobs,
  );

  function show() {
    knobs.hidden = upscaler.value === "";
    for (const control of Object.values(numbers)) control.disabled = knobs.hidden; // then they are not checked
  }

  show();
  return {
    place,
    value() {
      if (upscaler.value === "") return null;
      const values = Object.entries(numbers).map(([name, control]) => [name, Number(control.value)]);
      return { upscaler: upscaler.value, ...Object.fromEntries(values), ...size };
    },
    fill(hires) {
      upscaler.value = hires?.upscaler === "None" ? "Lanczos" : hires?.upscaler ?? "";
      for (const [name, control] of Object.entries(numbers)) control.value = hires?.[name] ?? NUMBERS[name].value;
      size = hires?.width || hires?.height ? { width: hires.width, height: hires.height } : {};
      show();
    },
  };
}
