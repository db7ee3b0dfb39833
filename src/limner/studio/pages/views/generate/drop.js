// A picture that is dropped on the page, pasted or chosen: its settings go into the form.

import { post } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { tell } from "../../lib/toast.js";

const KINDS = "image/png,image/jpeg,image/webp,image/avif,image/gif";

/** dropPart(take): take(settings, infotext) puts them into the form. */
export function dropPart(take) {
  const input = element("input", { type: "file", accept: KINDS, class: "unseen", tabindex: -1, "aria-hidden": "true", onchange: chosen });
  const said = element("div", { role: "status" });
  const place = element(
    "div",
    { class: "drop" },
    element("button", { type: "button", onclick: () => input.click() }, "Read a picture's settings"),
    element("span", { class: "soft small" }, "or drop one anywhere here, or paste it"),
    input,
    said,
  );
  const events = { dragover, dragleave: () => mark(false), drop: dropped, paste: pasted };
  for (const [name, heard] of Object.entries(events)) document.addEventListener(name, heard);

  function mark(isOver) {
    document.body.classList.toggle("dropping", isOver);
  }

  function dragover(event) {
    if (![...event.dataTransfer.types].includes("Files")) return;
    event.preventDefault();
    mark(true);
  }

  function dropped(event) {
    mark(false);
    if (!event.dataTransfer.files.length) return;
    event.preventDefault();
    read(event.dataTransfer.files[0]);
  }

  function pasted(event) {
    const file = event.clipboardData?.files[0];
    if (!file) return;
    event.preventDefault();
    read(file);
  }

  function chosen() {
    if (input.files.length) read(input.files[0]);
    input.value = "";
  }

  async function read(file) {
    try {
      const found = await post(`/api/png-info?name=${encodeURIComponent(file.name.slice(0, 200))}`, file);
      take(found.settings, found.infotext);
      replace(
        said,
        element(
          "div",
          { class: "card small" },
          element("p", {}, `The form has the settings of ${file.name}.`),
          element("ul", {}, found.notes.map((note) => element("li", {}, note))),
          element("button", { type: "button", onclick: () => replace(said) }, "Good"),
        ),
      );
    } catch (error) {
      replace(said);
      tell(error.message, "problem");
    }
  }

  return {
    place,
    leave() {
      mark(false);
      for (const [name, heard] of Object.entries(events)) document.removeEventListener(name, heard);
    },
  };
}
