// The place where pictures are dropped.

import { element, replace } from "../../lib/dom.js";
import { tell } from "../../lib/toast.js";
import { chosen, dropped, send } from "./files.js";

const MOST_NAMED = 5;

/** taken(): the set that the files go into, made if need be. */
export function dropArea(taken) {
  const bar = element("progress", { max: 1, value: 0, "aria-label": "Sending the pictures" });
  const words = element("p", { class: "soft", role: "status" });
  const progress = element("div", { class: "sending", hidden: true }, words, bar);
  const skipped = element("ul", { class: "skipped small" });
  const files = input({ multiple: true, accept: "image/*,.heic,.heif,.avif,.zip,.txt,.caption,.jsonl" }, "Choose files");
  const folder = input({ webkitdirectory: true }, "Choose a folder");
  const place = element(
    "div",
    { class: "drop" },
    element("p", { class: "drop-title" }, "Drop pictures here"),
    element("p", { class: "soft" }, "20 to 30 are best, in different places and light. Also a folder, or a zip; captions (.txt) and masks beside them are taken along."),
    element("p", { class: "bar" }, files.button, folder.button, files.place, folder.place),
    progress,
    skipped,
  );

  async function take(found) {
    const list = await found;
    if (!list.length) return;
    replace(skipped);
    progress.hidden = false;
    bar.value = 0;
    words.textContent = `Sending ${list.length} ${list.length === 1 ? "file" : "files"} …`;
    try {
      const set = await taken();
      const answer = await send(set.id, list, (share) => (bar.value = share));
      tell(summary(answer));
      replace(skipped, answer.skipped.slice(0, MOST_NAMED).map(({ name, why }) => element("li", {}, `${name} ${why}`)));
      if (answer.skipped.length > MOST_NAMED) skipped.append(element("li", {}, `and ${answer.skipped.length - MOST_NAMED} more`));
      await set.load();
    } catch (error) {
      tell(error.message, "problem");
    } finally {
      progress.hidden = true;
    }
  }

  files.place.addEventListener("change", () => take(chosen(files.place.files)));
  folder.place.addEventListener("change", () => take(chosen(folder.place.files)));
  let depth = 0; // of elements that what is dragged is over
  place.addEventListener("dragenter", (event) => {
    event.preventDefault();
    depth += 1;
    place.classList.add("over");
  });
  place.addEventListener("dragleave", () => {
    depth -= 1;
    if (!depth) place.classList.remove("over");
  });
  place.addEventListener("dragover", (event) => event.preventDefault());
  place.addEventListener("drop", (event) => {
    event.preventDefault();
    depth = 0;
    place.classList.remove("over");
    take(dropped(event.dataTransfer));
  });
  return place;
}

function input(attributes, words) {
  const place = element("input", { type: "file", class: "hidden-input", tabindex: "-1", "aria-label": words, ...attributes });
  const button = element("button", { type: "button", onclick: () => { place.value = ""; place.click(); } }, words);
  return { place, button };
}

function summary(answer) {
  const parts = [];
  if (answer.added) parts.push(`${answer.added} ${answer.added === 1 ? "file" : "files"} added`);
  if (answer.zips) parts.push(`${answer.zips === 1 ? "the zip is" : `${answer.zips} zips are`} being unpacked`);
  if (answer.same) parts.push(`${answer.same} there already`);
  if (answer.skipped.length) parts.push(`${answer.skipped.length} left out`);
  return parts.join(", ") || "nothing that could be used";
}
