// Captions of all pictures changed at once: seen before they are written.

import { post } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { row } from "../../lib/form.js";
import { tell } from "../../lib/toast.js";

const FIELDS = [
  ["add", "Add", "Tags at the end, split at commas, where they are not there."],
  ["remove", "Take out", "Tags, split at commas."],
  ["find", "Replace", "Words, in any case."],
  ["put", "by", "Nothing takes them out."],
];
const MOST_SHOWN = 20;

export function captions(set) {
  const inputs = Object.fromEntries(FIELDS.map(([name]) => [name, element("input", { type: "text", maxlength: 1000, autocomplete: "off" })]));
  const preview = element("ul", { class: "diff" });
  const apply = element("button", { type: "button", disabled: true, onclick: () => ask(true) }, "Change them");
  const place = element(
    "details",
    { class: "captions", hidden: true },
    element("summary", {}, "Captions of all pictures"),
    element("div", { class: "columns" }, FIELDS.map(([name, label, help]) => row({ name, label, help }, inputs[name]))),
    element("p", { class: "bar" }, element("button", { type: "button", onclick: () => ask(false) }, "Show what changes"), apply),
    element("div", { role: "status" }, preview),
  );
  for (const input of Object.values(inputs)) input.addEventListener("input", () => (apply.disabled = true));

  async function ask(write) {
    const values = Object.fromEntries(Object.entries(inputs).map(([name, input]) => [name, input.value]));
    try {
      const { changes } = await post(`/api/datasets/${set.id}/captions`, { ...values, write });
      apply.disabled = write || !changes.length;
      if (write) {
        replace(preview);
        tell(`${changes.length} ${changes.length === 1 ? "caption is" : "captions are"} changed`);
        await set.load();
        return;
      }
      const shown = changes.slice(0, MOST_SHOWN).map(({ name, before, after }) => element("li", {}, element("span", { class: "soft" }, name), element("del", {}, before), element("ins", {}, after)));
      const rest = changes.length - shown.length;
      replace(preview, changes.length ? shown : element("li", {}, "No caption changes."), rest > 0 ? element("li", {}, `and ${rest} more`) : null);
    } catch (error) {
      tell(error.message, "problem");
    }
  }

  set.watch(() => (place.hidden = !set.pictures.length));
  return place;
}
