// How kinds and families are called, and choices of them.

import { element } from "../../lib/dom.js";

export const KINDS = { checkpoint: "Checkpoint", lora: "LoRA", embedding: "Embedding" };
export const MANY = { checkpoint: "checkpoints", lora: "LoRAs", embedding: "embeddings" };

/** "1 LoRA", "3 checkpoints". */
export const counted = (count, kind) => `${count.toLocaleString()} ${count === 1 ? MANY[kind].slice(0, -1) : MANY[kind]}`;

const FAMILIES = { sd1: "SD 1.x", sd2: "SD 2.x", sdxl: "SDXL", sd3: "SD 3" };

export const family = (name) => FAMILIES[name] ?? name;

/** "LoRA", "LoRA (dora)", or what else a file looks like. */
export function kindOf(model) {
  const kind = KINDS[model.kind] ?? (model.kind || "not readable");
  return model.form && model.form !== "lora" ? `${kind} (${model.form})` : kind;
}

/** A labelled choice; choices: { value: label }. */
export function choice(label, name, choices, value, onchange) {
  const options = Object.entries(choices).map(([each, text]) => element("option", { value: each }, text));
  const control = element("select", { name, id: `models-${name}`, onchange }, options);
  control.value = value in choices ? value : Object.keys(choices)[0];
  return { control, place: element("div", { class: "filter" }, element("label", { for: control.id }, label), control) };
}

export const kindChoices = { "": "All types", checkpoint: "Checkpoints", lora: "LoRAs", embedding: "Embeddings" };
export const familyChoices = { "": "All bases", sd1: "SD 1.x", sd2: "SD 2.x", sdxl: "SDXL" };

/** Words that call a model in a prompt, and the address of the page that draws with it. */
export function promptOf(model) {
  const word = model.keywords[0] ?? "";
  if (model.kind === "lora") return `<lora:${model.stem}:1>${word ? ` ${word}` : ""}`;
  return model.kind === "embedding" ? model.stem : "";
}

export function drawAddress(model) {
  const values = model.kind === "checkpoint" ? { base: model.name } : { prompt: promptOf(model) };
  return `/generate?${new URLSearchParams(values)}`;
}

/** Where a model was fetched, as a link. */
export function origin(model) {
  if (!model.origin?.page) return null;
  const site = { civitai: "Civitai", hub: "the hub" }[model.origin.source] ?? model.origin.source;
  const link = element("a", { href: model.origin.page, target: "_blank", rel: "noopener noreferrer" }, model.origin.title || "its page");
  return element("p", { class: "small" }, "From ", link, ` at ${site}`);
}
