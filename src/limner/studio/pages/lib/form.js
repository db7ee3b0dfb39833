// Forms made from the settings' one declaration (GET /api/settings/COMMAND).

import { element } from "./dom.js";

/** A form of sections; read() gives what differs from the defaults, as plain values by the settings' names. words: what
 * choices are called, by the settings' names, where they are not shown as they are. */
export function settingsForm(sections, values = {}, words = {}) {
  const controls = new Map();
  const place = element("div", { class: "settings" });
  for (const section of sections) {
    const rows = section.fields.map((field) => {
      const control = controlOf(field, values[field.name], words[field.name] ?? {});
      controls.set(field.name, { field, control });
      return row(field, control);
    });
    place.append(element("fieldset", {}, element("legend", {}, section.title), rows));
  }
  return { place, read: () => read(controls) };
}

/** A labelled row of a form, with a sentence of help. */
export function row(field, control) {
  const question = element("p", { class: "problem", role: "status" });
  control.addEventListener("change", () => (question.textContent = questioned(field, control.value)));
  const id = (control.id ||= `setting-${field.name}-${crypto.randomUUID().slice(0, 8)}`);
  control.setAttribute("aria-describedby", `${id}-help`);
  return element(
    "div",
    { class: `row ${field.type}` },
    element("label", { for: id }, field.label),
    control,
    element("p", { class: "help", id: `${id}-help` }, field.help),
    question,
  );
}

/** A sentence about a number outside of its usual range, which is possible and seldom meant. */
function questioned({ usual, off }, text) {
  const value = Number(text);
  if (!usual || text === "" || value === off || (value >= usual[0] && value <= usual[1])) return "";
  return `Far from the usual ${usual[0]} to ${usual[1]}: check that you mean it.`;
}

function controlOf(field, value, words) {
  const now = value ?? field.default;
  if (field.type === "switch") return element("input", { type: "checkbox", checked: now === true });
  if (field.type === "choice") {
    const open = field.default === null ? [element("option", { value: "" }, "as Limner finds best")] : [];
    const choices = field.choices.map((each) => element("option", { value: String(each) }, words[each] ?? String(each)));
    const control = element("select", {}, open, choices);
    control.value = now === null ? "" : String(now);
    return control;
  }
  const isNumber = field.type === "number" || field.type === "integer";
  return element("input", {
    type: isNumber ? "number" : "text",
    step: field.type === "integer" ? 1 : "any",
    min: isNumber ? field.minimum : null,
    max: isNumber ? field.maximum : null,
    value: Array.isArray(value) ? value.join(", ") : value ?? "",
    placeholder: field.type === "list" ? "several split at commas" : field.default === null || field.default === "" ? "as Limner finds best" : String(field.default),
  });
}

function read(controls) {
  const values = {};
  for (const [name, { field, control }] of controls) {
    if (!control.reportValidity()) throw new Error(`${field.label}: ${control.validationMessage}`);
    if (field.type === "switch") {
      if (control.checked !== (field.default === true)) values[name] = control.checked;
    } else if (field.type === "choice") {
      const chosen = field.choices.find((each) => String(each) === control.value);
      if (chosen !== undefined && chosen !== field.default) values[name] = chosen;
    } else if (field.type === "list") {
      const texts = control.value.split(",").map((text) => text.trim()).filter(Boolean);
      if (texts.length) values[name] = texts;
    } else if (control.value !== "") {
      values[name] = field.type === "text" ? control.value : Number(control.value);
    }
  }
  return values;
}
