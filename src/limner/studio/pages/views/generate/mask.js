// A mask on the start image, painted in a dialog: large enough for a finger.

import { maskBrush } from "../../lib/brush.js";
import { element } from "../../lib/dom.js";
import { tell } from "../../lib/toast.js";

const MOST_SIDE = 2048; // pixels that are painted on; the mask gets the picture's own size

/** maskDialog(changed): { place, open(picture, mask) } with a picture's element and a mask's address, "" for none;
 * changed(blob) hears of another mask, null if nothing is painted. */
export function maskDialog(changed) {
  const view = element("img", { class: "view", alt: "The picture to start from" });
  const over = element("div", { class: "over large" }, view);
  const file = element("input", { type: "file", accept: "image/*", class: "unseen", tabindex: -1, "aria-hidden": "true", onchange: chosen });
  const fromFile = element("button", { type: "button", onclick: () => file.click() }, "From a file");
  const brush = maskBrush(over, "what is to be drawn anew", [fromFile]);
  const place = element(
    "dialog",
    { class: "editor", "aria-labelledby": "mask-title" },
    element("div", { class: "editor-head" }, element("h2", { id: "mask-title" }, "Mask"), element("button", { type: "button", class: "main", onclick: done }, "Done")),
    element(
      "div",
      { class: "editor-body" },
      element("div", { class: "editor-picture" }, over),
      element(
        "div",
        { class: "editor-side" },
        element("p", { class: "help" }, "Paint what is to be drawn anew; the rest stays."),
        brush.tools,
        file,
      ),
    ),
  );
  place.addEventListener("cancel", (event) => {
    event.preventDefault();
    done();
  });
  brush.canvas.hidden = false;

  async function open(picture, mask) {
    const { naturalWidth: width, naturalHeight: height } = picture;
    view.src = picture.src;
    over.style.setProperty("--ratio", width / height);
    place.showModal();
    const share = Math.min(1, MOST_SIDE / Math.max(width, height));
    await brush.begin(Math.round(width * share), Math.round(height * share), mask);
  }

  async function done() {
    try {
      if (brush.hasPainted) changed(await brush.png(view.naturalWidth, view.naturalHeight));
      place.close();
    } catch (error) {
      tell(error.message, "problem");
    }
  }

  async function chosen() {
    const address = URL.createObjectURL(file.files[0]);
    file.value = "";
    try {
      await brush.load(address);
    } catch {
      tell("the browser cannot read that file as a mask; choose a PNG picture, white where to draw anew", "problem");
    }
    URL.revokeObjectURL(address);
  }

  return { place, open };
}
