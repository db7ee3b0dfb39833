// A mask painted over a picture with a brush: what is painted counts in training.

import { element } from "../../lib/dom.js";

const MOST_SIDE = 16_384; // pixels of a canvas that browsers can make

/** over: the element that shows the whole picture. */
export function maskBrush(over) {
  let size = 40;
  let erases = false;
  let hasPainted = false;
  let last = null;
  const canvas = element("canvas", { class: "mask", "aria-label": "Mask; paint what counts", role: "img", hidden: true });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    canvas.setPointerCapture(event.pointerId);
    last = point(event);
    stroke(last);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (last === null) return;
    for (const each of event.getCoalescedEvents?.() ?? [event]) stroke(point(each));
  });
  for (const name of ["pointerup", "pointercancel"]) canvas.addEventListener(name, () => (last = null));

  const range = element("input", { type: "range", min: 4, max: 200, value: size, "aria-label": "Size of the brush", oninput: () => (size = Number(range.value)) });
  const eraser = element("input", { type: "checkbox", onchange: () => (erases = eraser.checked) });

  function point(event) {
    const whole = canvas.getBoundingClientRect();
    return [((event.clientX - whole.left) / whole.width) * canvas.width, ((event.clientY - whole.top) / whole.height) * canvas.height];
  }

  function stroke(to) {
    hasPainted = true;
    pen.globalCompositeOperation = erases ? "destination-out" : "source-over";
    pen.strokeStyle = pen.fillStyle = "#fff";
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
    hasPainted = false;
    last = null;
    if (!address) return;
    const image = new Image();
    image.src = address;
    await image.decode();
    pen.globalCompositeOperation = "source-over";
    pen.drawImage(image, 0, 0, width, height);
    const all = pen.getImageData(0, 0, width, height);
    for (let at = 0; at < all.data.length; at += 4) {
      all.data[at + 3] = all.data[at];
      all.data[at] = all.data[at + 1] = all.data[at + 2] = 255;
    }
    pen.putImageData(all, 0, 0);
  }

  /** Paint a rectangle in shares of the sides: what can be done without a pointer. */
  function fill([left, top, right, bottom]) {
    hasPainted = true;
    pen.globalCompositeOperation = "source-over";
    pen.fillStyle = "#fff";
    const { width, height } = canvas;
    pen.fillRect(left * width, top * height, (right - left) * width, (bottom - top) * height);
  }

  function clear() {
    hasPainted = true;
    pen.clearRect(0, 0, canvas.width, canvas.height);
  }

  /** The mask as a PNG of the picture's own size, white on black; null if nothing is painted. */
  async function png(width, height) {
    if (Math.max(width, height) > MOST_SIDE) throw new Error("this picture is too large to be painted on; give its mask as a file");
    if (!pen.getImageData(0, 0, canvas.width, canvas.height).data.some((value, at) => at % 4 === 3 && value > 8)) return null;
    const whole = element("canvas", {});
    whole.width = width;
    whole.height = height;
    const draw = whole.getContext("2d");
    draw.fillStyle = "#000";
    draw.fillRect(0, 0, width, height);
    draw.drawImage(canvas, 0, 0, width, height);
    return new Promise((resolve) => whole.toBlob(resolve, "image/png"));
  }

  over.append(canvas);
  return { canvas, range, eraser, begin, fill, clear, png, get hasPainted() { return hasPainted; } };
}
