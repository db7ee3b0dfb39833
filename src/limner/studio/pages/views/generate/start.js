// A picture to start from instead of noise alone, and how far to leave it.

import { post } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { row } from "../../lib/form.js";
import { tell } from "../../lib/toast.js";

const RESIZES = { crop: "cut to the size", stretch: "stretched to the size", fill: "with edges filled up", latent: "stretched as latents" };
const KINDS = "image/png,image/jpeg,image/webp,image/avif,image/gif";
const LEAST = 64;
const MOST = 2048;
const MULTIPLE = 8;

/** startPart(resize): resize(width, height) sets the form's. use(picture) takes one of the gallery; value() is the
 * request's init, null without a picture. */
export function startPart(resize) {
  let name = null;
  const image = element("img", { alt: "The picture to start from", hidden: true });
  const input = element("input", { type: "file", accept: KINDS, class: "unseen", tabindex: -1, "aria-hidden": "true", onchange: chosen });
  const choose = element("button", { type: "button", onclick: () => input.click() }, "Choose a picture");
  const drop = element("button", { type: "button", hidden: true, onclick: clear }, "Start from noise");
  const strength = element("input", { type: "number", min: 0, max: 1, step: "any", value: 0.75, required: true, inputmode: "decimal" });
  const how = element("select", {}, Object.entries(RESIZES).map(([value, label]) => element("option", { value }, label)));
  const knobs = element(
    "div",
    { class: "knobs", hidden: true },
    row({ name: "strength", label: "Denoising strength", help: "0 keeps the picture, 1 draws it anew.", type: "number" }, strength),
    row({ name: "resize", label: "How it is fitted", help: "", type: "choice" }, how),
  );
  const place = element(
    "details",
    { class: "start" },
    element("summary", {}, "Start image"),
    image,
    element("div", { class: "bar" }, choose, drop, input),
    knobs,
  );

  async function chosen() {
    const file = input.files[0];
    input.value = "";
    if (file) await take(file);
  }

  async function take(blob) {
    try {
      const kept = await post("/api/inputs", blob);
      name = kept.name;
      if (image.src) URL.revokeObjectURL(image.src);
      image.src = URL.createObjectURL(blob);
      await image.decode();
      resize(fitted(image.naturalWidth), fitted(image.naturalHeight));
      show();
    } catch (error) {
      clear();
      const isPicture = error.name !== "EncodingError";
      tell(isPicture ? error.message : "the browser cannot read that file; choose a PNG, JPEG or WebP picture", "problem");
    }
  }

  function show() {
    image.hidden = drop.hidden = knobs.hidden = name === null;
    replace(choose, name === null ? "Choose a picture" : "Choose another");
  }

  function clear() {
    name = null;
    if (image.src) URL.revokeObjectURL(image.src);
    image.removeAttribute("src");
    show();
  }

  return {
    place,
    clear,
    async use(picture) {
      const answer = await fetch(`/api/pictures/${picture.id}/file`);
      await take(await answer.blob());
      place.open = true;
      strength.focus();
    },
    value: () => (name === null ? null : { images: [name], strength: Number(strength.value), resize: how.value }),
  };
}

function fitted(pixels) {
  return Math.min(MOST, Math.max(LEAST, Math.round(pixels / MULTIPLE) * MULTIPLE));
}
