// One picture, large: its crop, its mask, its caption, and what was found. A dialog keeps the focus inside.

import { maskBrush } from "../../lib/brush.js";
import { element, replace } from "../../lib/dom.js";
import { tell } from "../../lib/toast.js";
import { cropBox } from "./crop.js";

const WHOLE = [0, 0, 1, 1];

export function editor(set) {
  let now = null; // the picture that is shown
  let said = {}; // what is to be saved of it
  const image = element("img", { class: "view", alt: "" });
  const over = element("div", { class: "over" }, image);
  const crop = cropBox(over, (next) => (said.crop = next.map((side) => Number(side.toFixed(5)))));
  const brush = maskBrush(over, "what counts", [
    element("button", { type: "button", onclick: () => brush.fill(now.crop ?? WHOLE) }, "Fill the crop"),
    element("button", { type: "button", onclick: () => upload.click() }, "From a file"),
    element("button", { type: "button", onclick: () => noMask() }, "No mask"),
  ]);
  const title = element("h2", { id: "editor-title" });
  const caption = element("textarea", { id: "editor-caption", rows: 4, maxlength: 5000, oninput: () => (said.caption = caption.value) });
  const from = element("p", { class: "help", id: "editor-caption-help" });
  caption.setAttribute("aria-describedby", from.id);
  const keep = element("input", { type: "checkbox", onchange: () => (said.keep = keep.checked === now.proposed.kept ? null : keep.checked) });
  const findings = element("ul", { class: "findings" });
  const maskWords = element("p", { class: "help", role: "status" });
  const upload = element("input", { type: "file", accept: "image/png", class: "hidden-input", tabindex: "-1", "aria-label": "Mask as a file", onchange: () => giveFile() });
  const ways = ["crop", "mask"].map((name) =>
    element("label", { class: "chip" }, element("input", { type: "radio", name: "editor-way", value: name, checked: name === "crop", onchange: () => show(name) }), name === "crop" ? "Crop" : "Mask"),
  );
  const cropTools = element(
    "div",
    {},
    crop.numbers,
    element("p", { class: "help" }, "Drag the corners, or move them with the arrow keys. What is trained on lies inside, in the nearest shape that training has."),
    element("p", { class: "bar" }, element("button", { type: "button", onclick: () => cropAs(now.proposed.crop ?? WHOLE, null) }, "As proposed"), element("button", { type: "button", onclick: () => cropAs(WHOLE, WHOLE) }, "All of it")),
  );
  const maskTools = element(
    "div",
    { hidden: true },
    element("p", { class: "help" }, "Paint what the subject is: the rest then counts little or nothing."),
    brush.tools,
    upload,
    maskWords,
  );
  const discard = element("button", { type: "button", class: "small", onclick: () => forget() }, "Remove from the set");
  const previous = element("button", { type: "button", onclick: () => step(-1) }, "Previous");
  const next = element("button", { type: "button", onclick: () => step(1) }, "Next");
  const dialog = element(
    "dialog",
    { class: "editor", "aria-labelledby": title.id },
    element("div", { class: "editor-head" }, title, element("button", { type: "button", class: "main", onclick: () => done() }, "Done")),
    element(
      "div",
      { class: "editor-body" },
      element("div", { class: "editor-picture" }, over),
      element(
        "div",
        { class: "editor-side" },
        element("label", { class: "keep" }, keep, "Train on this picture"),
        findings,
        element("div", { class: "row" }, element("label", { for: caption.id }, "Caption"), caption, from, element("button", { type: "button", class: "small", onclick: () => captionAs() }, "Caption as proposed")),
        element("div", { class: "bar", role: "radiogroup", "aria-label": "What is edited on the picture" }, ways),
        cropTools,
        maskTools,
        element("p", { class: "bar editor-steps" }, previous, next, discard),
      ),
    ),
  );
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    done();
  });

  function show(way) {
    crop.box.hidden = way !== "crop";
    cropTools.hidden = way !== "crop";
    brush.canvas.hidden = way !== "mask";
    maskTools.hidden = way !== "mask";
  }

  async function open(number) {
    now = set.pictures.find((picture) => picture.number === number);
    said = {};
    const at = set.pictures.indexOf(now);
    title.textContent = now.name;
    previous.disabled = !neighbour(-1);
    next.disabled = !neighbour(1);
    keep.checked = now.kept === true;
    keep.disabled = now.mark === "unusable";
    caption.value = now.caption;
    from.textContent = { own: "From the file beside the picture.", template: "Made of keyword and class.", "by hand": "Written by you." }[now.caption_from] ?? "";
    replace(findings, now.findings.map((each) => element("li", { class: each.level }, `It ${each.sentence}. `, element("span", { class: "soft" }, each.advice))));
    crop.show(now.crop ?? WHOLE);
    tellMask();
    image.alt = `Picture ${at + 1} of ${set.pictures.length}`;
    if (!dialog.open) dialog.showModal();
    image.src = set.address(now, "view");
    await image.decode().catch(() => (image.src = set.address(now, "thumbnail")));
    await image.decode().catch(() => {});
    await brush.begin(image.naturalWidth || 1, image.naturalHeight || 1, now.mask === "by hand" ? `${set.address(now, "mask")}&${Date.now()}` : "");
  }

  function tellMask() {
    maskWords.textContent = now.mask === "by hand" ? "Kept so far: a mask of yours." : now.mask ? `Kept so far: a mask, ${now.mask}.` : "Kept so far: no mask.";
  }

  /** The number of the next picture that can be opened, in a direction. */
  function neighbour(way) {
    const at = set.pictures.findIndex((picture) => picture.number === now.number);
    const rest = way > 0 ? set.pictures.slice(at + 1) : set.pictures.slice(0, at).reverse();
    return rest.find((picture) => picture.thumbnail)?.number;
  }

  async function save() {
    if ("caption" in said && said.caption === now.caption) delete said.caption;
    if (said.caption === "") said.caption = null;
    if (brush.hasPainted) {
      const blob = await brush.png(now.width, now.height);
      if (blob) await set.giveMask(now.number, blob);
      else said.mask = now.proposed.mask ? "none" : null;
    }
    if (Object.keys(said).length) await set.decide(now.number, said);
    said = {};
  }

  async function step(way) {
    const number = neighbour(way);
    if (await saved()) await open(number);
  }

  async function done() {
    if (await saved()) dialog.close();
  }

  async function saved() {
    try {
      await save();
      return true;
    } catch (error) {
      tell(error.message, "problem");
      said = {};
      return false;
    }
  }

  function cropAs(shown, kept) {
    crop.show(shown);
    said.crop = kept;
  }

  function captionAs() {
    caption.value = now.proposed.caption;
    said.caption = null;
  }

  async function noMask() {
    await brush.begin(brush.canvas.width, brush.canvas.height, "");
    await set.decide(now.number, { mask: "none" });
    now = set.pictures.find((picture) => picture.number === now.number);
    tellMask();
  }

  async function forget() {
    if (!confirm(`Remove ${now.name} from the set, with its caption and mask? The file that you dropped stays where it came from.`)) return;
    const number = neighbour(1) ?? neighbour(-1);
    try {
      await set.removePictures([now.number]);
      if (number === undefined) dialog.close();
      else await open(number);
    } catch (error) {
      tell(error.message, "problem");
    }
  }

  async function giveFile() {
    const [file] = upload.files;
    upload.value = "";
    if (!file) return;
    try {
      await set.giveMask(now.number, file);
      await open(now.number);
    } catch (error) {
      tell(error.message, "problem");
    }
  }

  return { place: dialog, open };
}
