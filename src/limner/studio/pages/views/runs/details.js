// What was chosen and why, what was asked for, and the run card of what came of it.

import { element, replace } from "../../lib/dom.js";
import { happened } from "./run.js";
import { valueOf } from "./words.js";

export function details() {
  const place = element("section", { class: "facts", "aria-label": "Details" });
  let shown = "";

  function update(job, run) {
    const chosen = new Map(happened(run, "Chosen").map((event) => [event.name, event]));
    const key = JSON.stringify([chosen.size, job.status, Boolean(job.result?.card)]);
    if (key === shown) return;
    shown = key;
    const card = job.result?.card;
    replace(
      place,
      chosen.size > 0 && folded("What was chosen, and why", table(["Setting", "Value", "Because"], [...chosen.values()].map(choice))),
      card && folded("Run card", element("p", { class: "help" }, "What the file itself says about its making, for whoever has it."), flatTable(card)),
      folded("What was asked for", flatTable(job.request)),
    );
  }
  return { place, update };
}

const choice = (event) => [words(event.name), valueOf(event.value), event.reason];
export const words = (name) => name.replaceAll("_", " ");

function folded(title, ...parts) {
  return element("details", {}, element("summary", {}, title), parts);
}

export function table(heads, rows) {
  return element(
    "div",
    { class: "scroll", tabindex: 0, role: "group", "aria-label": heads.join(", ") },
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, heads.map((head) => element("th", { scope: "col" }, head)))),
      element(
        "tbody",
        {},
        rows.map(([first, ...others]) => element("tr", {}, element("th", { scope: "row" }, first), others.map((each) => element("td", {}, each)))),
      ),
    ),
  );
}

function flatTable(values) {
  return table(["Name", "Value"], [...flat(values)]);
}

function* flat(values, before = "") {
  for (const [name, value] of Object.entries(values)) {
    if (value === null || value === "" || (Array.isArray(value) && !value.length)) continue;
    if (typeof value === "object" && !Array.isArray(value)) yield* flat(value, `${before}${words(name)}: `);
    else if (name.endsWith("_sha256")) yield [`${before}${words(name.replace(/_sha256$/, ""))}`, `${value.length} pictures`];
    else yield [`${before}${words(name)}`, valueOf(value)];
  }
}
