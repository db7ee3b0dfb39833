// Every other setting, in forms made from the settings' declarations.

import { get } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { settingsForm } from "../../lib/form.js";

const KNOWN = new Set(["subject"]); // the class says it
const OF_PREPARING = new Set(["alpha_masks"]); // what both have, and only preparing can still do

export function more() {
  const name = element("input", { type: "text", id: "file-name", maxlength: 100, autocomplete: "off", placeholder: "as the keyword" });
  const own = element("div");
  const training = element("div");
  const preparing = element("div");
  const place = element(
    "section",
    { class: "card" },
    element(
      "details",
      {},
      element("summary", {}, "More"),
      element("div", { class: "row" }, element("label", { for: name.id }, "Name of the file"), name),
      own,
      element("h3", {}, "Training"),
      training,
      element("h3", {}, "Preparing the pictures"),
      preparing,
    ),
  );
  let forms = { own: [], training: null, preparing: null };

  async function load() {
    const [train, prepare] = await Promise.all([get("/api/settings/train"), get("/api/settings/prepare")]);
    const same = new Set(train.flatMap((section) => section.fields).map((field) => field.name));
    const here = (field) => !same.has(field.name) || OF_PREPARING.has(field.name);
    const there = (field) => !OF_PREPARING.has(field.name);
    const rest = only(prepare, (field) => here(field) && !KNOWN.has(field.name));
    forms.training = settingsForm(only(train, there));
    forms.preparing = settingsForm(rest);
    replace(training, forms.training.place);
    replace(preparing, forms.preparing.place);
  }

  /** sections: of the method's own settings, by the names of their tables. */
  function showOwn(sections) {
    const key = JSON.stringify(sections);
    if (key === own.dataset.key) return;
    own.dataset.key = key;
    forms.own = Object.entries(sections).map(([table, parts]) => [table, settingsForm(parts.map((part) => ({ ...part, title: `The method: ${table}` })))]);
    replace(own, forms.own.map(([, form]) => form.place));
  }

  /** { name, more, preparing } of a training's request. Throws an Error for what will not do. */
  function read() {
    const tables = Object.fromEntries(forms.own.map(([table, form]) => [table, form.read()]).filter(([, values]) => Object.keys(values).length));
    const settings = { ...(forms.training?.read() ?? {}), ...tables };
    return { name: name.value.trim(), more: settings, preparing: forms.preparing?.read() ?? {} };
  }

  return { place, load, showOwn, read };
}

/** The sections with the fields that are wanted. */
function only(sections, wanted) {
  return sections.map((section) => ({ ...section, fields: section.fields.filter(wanted) })).filter((section) => section.fields.length);
}
