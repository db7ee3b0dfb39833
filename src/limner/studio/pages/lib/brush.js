// A mask painted over a picture: with a brush by mouse, finger or pen, or as rectangles by numbers.

import { element } from "./dom.js";

const MOST_SIDE = 16_384; // pixels of a canvas that browsers can make
const SAMPLES = 64; // of each side, by which is told how much is painted
const PEN_ERASER = 5; // a pen turned round, as pointer events number it
const SIDES = ["left", "top", "right", "bottom"];

/** over: the element that shows the whole picture. what: that is painted. buttons: others that change the mask. tools: all
 * that it is painted with. */
export function maskBrush(over, what, buttons = []) {
  let size = 40;
  let hasPainted = false;
  let isErased = false; // by the stroke that is being drawn
  let last = null;
  const canvas = element("canvas", { class: "mask", "aria-label": `Mask; paint ${what}`, role: "img", hidden: true });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  canvas.addEventListener("pointerdown", (event) => {
    if (![0, PEN_ERASER].includes(event.button) || last !== null) return;
    isErased = eraser.checked || event.button === PEN_ERASER;
    event.preventDefault();
    canvas.setPointerCapture(event.pointerId);
    last = point(event);
    stroke(last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last === null || !canvas.hasPointerCapture(event.pointerId)) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) stroke(point(each));
  });
  canvas.addEventListener("lostpointercapture", () => {
    last = null;
    tell();
  });

  const range = element("input", { type: "range", min: 4, max: 200, value: size, oninput: () => (size = Number(range.value)) });
  const eraser = element("input", { type: "checkbox" });
  const words = element("p", { class: "help", role: "status" });
  const rectangle = rectanglePart(over, (box) => fill(box, eraser.checked));
  const tools = element(
    "div",
    { class: "brush" },
    element("label", { class: "small" }, "Size of the brush", range),
    element("label", { class: "keep" }, eraser, "Erase"),
    element(
      "p",
      { class: "bar" },
      element("button", { type: "button", onclick: clear }, "Clear"),
      element("button", { type: "button", onclick: invert }, "Invert"),
      buttons,
    ),
    rectangle,
    words,
  );

  function point(event) {
    const whole = canvas.getBoundingClientRect();
    return [((event.clientX - whole.left) / whole.width) * canvas.width, ((event.clientY - whole.top) / whole.height) * canvas.height];
  }

  /** What is painted from now on covers, or takes away. */
  function dip(erases) {
    hasPainted = true;
    pen.globalCompositeOperation = erases ? "destination-out" : "source-over";
    pen.strokeStyle = pen.fillStyle = "#fff";
  }

  function stroke(to) {
    dip(isErased);
    pen.lineWidth = (size * canvas.width) / (canvas.getBoundingClientRect().width || canvas.width);
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    pen.moveTo(...last);
    pen.lineTo(to[0] + 0.01, to[1]);
    pen.stroke();
    last = to;
  }

  /** Begin with a picture's view, of that width and height, and its mask's address, if it has one that was drawn. */
  async function begin(width, height, address) {
    canvas.width = width;
    canvas.height = height;
    last = null;
    if (address) await load(address);
    hasPainted = false;
    tell();
  }

  /** Take the mask of a picture's address, stretched over the whole: what is opaque of it, or else what is bright. */
  async function load(address) {
    const image = new Image();
    image.src = address;
    await image.decode();
    const { width, height } = canvas;
    pen.globalCompositeOperation = "copy";
    pen.drawImage(image, 0, 0, width, height);
    const all = pen.getImageData(0, 0, width, height);
    whiten(all.data);
    pen.putImageData(all, 0, 0);
    hasPainted = true;
    tell();
  }

  /** Paint a rectangle in shares of the sides: what can be done without a pointer. */
  function fill([left, top, right, bottom], erases = false) {
    dip(erases);
    const { width, height } = canvas;
    pen.fillRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
    tell();
  }

  function clear() {
    fill([0, 0, 1, 1], true);
  }

  function invert() {
    dip(false);
    pen.globalCompositeOperation = "xor";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    tell();
  }

  function tell() {
    const small = element("canvas", { width: SAMPLES, height: SAMPLES }).getContext("2d", { willReadFrequently: true });
    small.drawImage(canvas, 0, 0, SAMPLES, SAMPLES);
    const sum = small.getImageData(0, 0, SAMPLES, SAMPLES).data.reduce((sum, value, at) => (at % 4 === 3 ? sum + value : sum), 0);
    const percent = (100 * sum) / (255 * SAMPLES ** 2);
    words.textContent = sum ? `${percent < 1 ? "Less than 1" : Math.round(percent)}% of the picture is painted.` : "Nothing is painted.";
  }

  /** The mask as a PNG of the picture's own size, white on black; null if nothing is painted. */
  async function png(width, height) {
    if (Math.max(width, height) > MOST_SIDE) throw new Error("this picture is too large to be painted on; give its mask as a file");
    if (!pen.getImageData(0, 0, canvas.width, canvas.height).data.some((value, at) => at % 4 === 3 && value > 8)) return null;
    const whole = element("canvas", { width, height });
    const draw = whole.getContext("2d");
    draw.fillStyle = "#000";
    draw.fillRect(0, 0, width, height);
    draw.drawImage(canvas, 0, 0, width, height);
    return new Promise((resolve) => whole.toBlob(resolve, "image/png"));
  }

  over.append(canvas);
  return { canvas, tools, begin, load, fill, png, get hasPainted() { return hasPainted; } };
}

/** Pixels that are white, and as opaque as they were; where all were opaque, as they were bright. */
function whiten(pixels) {
  const isOpaque = pixels.every((value, at) => at % 4 !== 3 || value === 255);
  for (let at = 0; at < pixels.length; at += 4) {
    if (isOpaque) pixels[at + 3] = 0.299 * pixels[at] + 0.587 * pixels[at + 1] + 0.114 * pixels[at + 2];
    pixels[at] = pixels[at + 1] = pixels[at + 2] = 255;
  }
}

/** A rectangle by numbers, shown on the picture as long as they are being changed; paint(box) in shares of the sides. */
function rectanglePart(over, paint) {
  const frame = element("div", { class: "mask-frame", hidden: true });
  const inputs = SIDES.map((name, at) =>
    element("input", { type: "number", min: 0, max: 100, step: 1, value: at < 2 ? 25 : 75, "aria-label": `${name} edge of the rectangle, in percent`, inputmode: "numeric", oninput: show }),
  );
  over.append(frame);

  function box() {
    const [left, top, right, bottom] = inputs.map((input) => Math.min(100, Math.max(0, Number(input.value))) / 100);
    return [Math.min(left, right), Math.min(top, bottom), Math.max(left, right), Math.max(top, bottom)];
  }

  function show() {
    const [left, top, right, bottom] = box();
    Object.assign(frame.style, { left: `${left * 100}%`, top: `${top * 100}%`, width: `${(right - left) * 100}%`, height: `${(bottom - top) * 100}%` });
    frame.hidden = false;
  }

  return element(
    "fieldset",
    { class: "crop-numbers", onfocusin: show, onfocusout: () => (frame.hidden = true) },
    element("legend", {}, "Rectangle, in percent"),
    SIDES.map((name, at) => element("label", { class: "small" }, name, inputs[at])),
    element("button", { type: "button", onclick: () => paint(box()) }, "Paint or erase it"),
  );
}
