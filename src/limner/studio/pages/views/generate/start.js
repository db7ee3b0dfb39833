// A picture to start from instead of noise alone, how far to leave it, and a mask of what is drawn anew.

import { post } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { settingsForm } from "../../lib/form.js";
import { tell } from "../../lib/toast.js";
import { capital } from "../../lib/words.js";
import { maskDialog } from "./mask.js";

const OF_PICTURE = ["strength", "resize"]; // the other settings are of the mask
const WORDS = {
  resize: { crop: "cut to the size", stretch: "stretched to the size", fill: "with edges filled up", latent: "stretched as latents" },
  fill: { fill: "the colours around it", original: "what is there", noise: "noise", nothing: "nothing" },
};
const KINDS = "image/png,image/jpeg,image/webp,image/avif,image/gif";
const LEAST = 64;
const MOST = 2048;
const MULTIPLE = 8;
const GONE = "is not there any more";

/** startPart(fields, resize): fields: the settings' one declaration; resize(width, height) sets the form's. use(picture)
 * takes one of the gallery; value() sends what is to be sent, and gives the request's init, null without a picture. */
export function startPart(fields, resize) {
  let picture = null; // blobs
  let mask = null;
  let ofPicture = null; // forms
  let ofMask = null;
  let turn = 0; // counts pictures, for what comes late
  let coming = Promise.resolve(); // the picture that is being fetched
  const image = element("img", { alt: "The picture to start from" });
  const cover = element("img", { class: "mask", alt: "Its mask" });
  const over = element("div", { class: "over large" }, image, cover);
  const input = element("input", { type: "file", accept: KINDS, class: "unseen", tabindex: -1, "aria-hidden": "true", onchange: chosen });
  const said = element("p", { class: "small warning", role: "status" });
  const choose = element("button", { type: "button", onclick: () => input.click() });
  const paint = element("button", { type: "button", onclick: () => dialog.open(image, cover.getAttribute("src") ?? "") });
  const unmask = element("button", { type: "button", onclick: () => setMask(null) }, "Remove the mask");
  const drop = element("button", { type: "button", onclick: clear }, "Start from noise");
  const knobs = element("div");
  const maskKnobs = element("div");
  const dialog = maskDialog(setMask);
  const place = element(
    "details",
    { class: "start" },
    element("summary", {}, "Start image"),
    over,
    said,
    element("div", { class: "bar" }, choose, paint, unmask, drop, input),
    knobs,
    maskKnobs,
  );

  function fill(values) {
    const titled = fields.map((field) => ({ ...field, label: capital(field.label) }));
    const part = (title, isOurs) => settingsForm([{ title, fields: titled.filter(isOurs) }], values, WORDS);
    ofPicture = part("Picture", (field) => OF_PICTURE.includes(field.name));
    ofMask = part("Mask", (field) => !OF_PICTURE.includes(field.name));
    replace(knobs, ofPicture.place);
    replace(maskKnobs, ofMask.place);
  }

  async function chosen() {
    const file = input.files[0];
    input.value = "";
    if (file) await take(file);
  }

  /** A new picture, which the form's size fits; its mask is another's. */
  async function take(blob) {
    try {
      await setPicture(blob);
      resize(fitted(image.naturalWidth), fitted(image.naturalHeight));
    } catch (error) {
      clear();
      tell(error.message, "problem");
    }
  }

  async function setPicture(blob) {
    turn++;
    picture = blob;
    put(image, blob);
    said.textContent = "";
    setMask(null);
    if (!blob) return;
    await image.decode().catch(() => {
      throw new Error("The browser cannot read that file; choose a PNG, JPEG or WebP picture.");
    });
    over.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
  }

  function setMask(blob) {
    mask = blob;
    put(cover, blob);
    show();
  }

  function show() {
    over.hidden = paint.hidden = drop.hidden = knobs.hidden = picture === null;
    cover.hidden = unmask.hidden = maskKnobs.hidden = mask === null;
    replace(choose, picture === null ? "Choose a picture" : "Choose another");
    replace(paint, mask === null ? "Paint a mask" : "Change the mask");
  }

  function clear() {
    setPicture(null);
  }

  /** Nothing to start from, for a reason that is told in the picture's place. */
  function lose(reason) {
    clear();
    said.textContent = reason;
    place.open = true;
  }

  /** What a picture of the gallery was drawn from: its request's init, and which of its names are not there any more. */
  async function restore(init, missing) {
    clear();
    fill(init);
    place.open = true;
    let ours = turn;
    const isMaskGone = missing.includes(init.mask);
    try {
      if (missing.includes(init.images[0])) throw new Error(`The picture that this one was drawn from ${GONE}; choose another one.`);
      const names = [init.images[0], isMaskGone ? null : init.mask];
      const [blob, itsMask] = await Promise.all(names.map((name) => name && blobOf(`/api/inputs/${name}`)));
      if (turn !== ours) return;
      ours++;
      await setPicture(blob);
      setMask(itsMask);
      if (isMaskGone) said.textContent = `The mask that this picture was drawn with ${GONE}; paint another one.`;
    } catch (error) {
      if (turn === ours) lose(error.message);
    }
  }

  async function value() {
    await coming;
    if (picture === null) return null;
    const values = { ...ofPicture.read(), ...(mask ? ofMask.read() : {}) };
    const [kept, keptMask] = await Promise.all([picture, mask].map((blob) => blob && post("/api/inputs", blob)));
    return { images: [kept.name], mask: keptMask?.name ?? null, ...values };
  }

  fill({});
  show();
  return {
    place,
    dialog: dialog.place,
    clear,
    restore: (init, missing) => (coming = restore(init, missing)),
    value,
    lost: () => lose(`This picture was drawn from another one, which ${GONE}; choose one.`),
    async use(chosen) {
      await (coming = blobOf(`/api/pictures/${chosen.id}/file`).then(take, (error) => tell(error.message, "problem")));
      place.open = true;
      knobs.querySelector("input").focus();
    },
  };
}

async function blobOf(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`The picture to start from ${GONE}; choose another one.`);
  return answer.blob();
}

/** Show a file in an image, or nothing. */
function put(image, blob) {
  if (image.src) URL.revokeObjectURL(image.src);
  if (blob) image.src = URL.createObjectURL(blob);
  else image.removeAttribute("src");
}

function fitted(pixels) {
  return Math.min(MOST, Math.max(LEAST, Math.round(pixels / MULTIPLE) * MULTIPLE));
}
