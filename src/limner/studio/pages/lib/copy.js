// A button that puts a text where it can be pasted.

import { element } from "./dom.js";
import { tell } from "./toast.js";

/** copyButton("<lora:ink:1>"): shows the text, unless `label` says something else. */
export function copyButton(text, { label = text, class: kind = "chip" } = {}) {
  const copy = async () => {
    await copyText(text);
    tell(`copied: ${text}`);
  };
  return element("button", { type: "button", class: kind, title: `Copy ${text}`, onclick: copy }, label);
}

async function copyText(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without https, from another machine, there is no clipboard but the old way.
  const area = element("textarea", { value: text, readonly: true, "aria-hidden": "true" });
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("the browser does not let the page copy; mark the text and copy it");
}
