// A model of the shelf in short.

import { copyButton } from "../../lib/copy.js";
import { element } from "../../lib/dom.js";
import { megabytes } from "../../lib/words.js";
import { details } from "./details.js";
import { KINDS, drawAddress, family, kindOf, origin } from "./names.js";

const MOST_WORDS = 4; // keywords on a card; all are in the details

export function card(model, changed) {
  const facts = [kindOf(model), family(model.family)].filter(Boolean);
  const about = [model.size_bytes && megabytes(model.size_bytes), shortHash(model)].filter(Boolean);
  const more = element("button", { type: "button", "aria-haspopup": "dialog", onclick: () => details(model, changed) }, "Details");
  return element(
    "li",
    { class: "card model" },
    thumbnail(model),
    element(
      "div",
      { class: "model-text" },
      element("h3", {}, model.title),
      element("p", { class: "model-tags" }, facts.map((fact) => element("span", { class: "tag" }, fact))),
      model.problem ? element("p", { class: "problem small" }, model.problem) : null,
      words(model),
      about.length ? element("p", { class: "soft small" }, about.join(" · ")) : null,
      readers(model),
      origin(model),
    ),
    element("div", { class: "bar model-actions" }, actions(model), more),
  );
}

const letter = (model) => (model.kind in KINDS ? KINDS[model.kind][0] : "?");

function thumbnail(model) {
  if (!model.preview) return element("div", { class: `thumbnail none ${model.kind}`, "aria-hidden": "true" }, letter(model));
  const version = Math.round(model.changed);
  const address = `/api/models/preview?${new URLSearchParams({ name: model.name, v: version })}`;
  const picture = element("img", { src: address, alt: "", loading: "lazy", decoding: "async" });
  const place = element("div", { class: "thumbnail" }, picture);
  picture.addEventListener("error", () => {
    place.className = `thumbnail none ${model.kind}`;
    place.replaceChildren(letter(model));
  });
  return place;
}

function words(model) {
  const tag = model.kind === "lora" ? `<lora:${model.stem}:1>` : model.kind === "embedding" ? model.stem : null;
  const keywords = model.keywords.filter((word) => word !== tag);
  if (!tag && !keywords.length) return null;
  const left = keywords.length - MOST_WORDS;
  return element(
    "p",
    { class: "bar chips" },
    tag ? copyButton(tag) : null,
    keywords.slice(0, MOST_WORDS).map((word) => copyButton(word)),
    left > 0 ? element("span", { class: "soft small" }, `and ${left} more`) : null,
  );
}

/** LoRAs are known by AutoV3, the rest by AutoV2, as the webui shows them. */
function shortHash(model) {
  return (model.kind === "lora" && model.autov3) || model.autov2 || "";
}

function readers(model) {
  const loading = model.readers.filter((reader) => reader.loads);
  if (!model.readers.length) return null;
  const faulty = loading.filter((reader) => reader.says).length;
  if (loading.length === model.readers.length && !faulty) return element("p", { class: "small good" }, "Loads everywhere, exactly");
  if (model.readers.every((reader) => reader.loads === null)) return element("p", { class: "small soft" }, "Not known which programs load it");
  const names = loading.map((reader) => (reader.says ? `${reader.name}*` : reader.name)).join(", ");
  const note = faulty ? element("span", { class: "soft" }, " (* not exactly: see details)") : null;
  return element("p", { class: "small" }, names ? `Loads in ${names}` : "No program is known to load it", note);
}

function actions(model) {
  if (model.problem || !["checkpoint", "lora", "embedding"].includes(model.kind)) return [];
  const draw = element("a", { class: "button", href: drawAddress(model) }, "Draw with it");
  if (model.kind !== "checkpoint") return [draw];
  return [draw, element("a", { class: "button", href: `/train?${new URLSearchParams({ base: model.name })}` }, "Train on it")];
}
