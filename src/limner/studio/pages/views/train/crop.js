// A crop drawn over a picture: dragged by its corners or as a whole, moved by arrow keys, or said in numbers.

import { element } from "../../lib/dom.js";

const LEAST = 0.02; // of a side
const SIDES = ["left", "top", "right", "bottom"];
const CORNERS = { "top left": [0, 1], "top right": [2, 1], "bottom left": [0, 3], "bottom right": [2, 3] };

/** over: the element that shows the whole picture. changed(crop) hears of each change by the person. */
export function cropBox(over, changed) {
  let crop = [0, 0, 1, 1];
  const box = element("div", { class: "crop-box", tabindex: "0", role: "group" });
  const handles = Object.entries(CORNERS).map(([name, sides]) => {
    const handle = element("button", { type: "button", class: `handle ${name.replace(" ", "-")}` });
    handle.addEventListener("keydown", (event) => byKey(event, sides));
    drag(handle, sides);
    return [name, sides, handle];
  });
  box.append(...handles.map(([, , handle]) => handle));
  box.addEventListener("keydown", (event) => event.target === box && byKey(event, [0, 1, 2, 3]));
  drag(box, [0, 1, 2, 3]);
  const inputs = SIDES.map((name, at) =>
    element("input", { type: "number", min: 0, max: 100, step: 0.1, "aria-label": `${name} edge of the crop, in percent`, onchange: (event) => byNumber(at, event.target) }),
  );
  const numbers = element(
    "fieldset",
    { class: "crop-numbers" },
    element("legend", {}, "Crop, in percent"),
    SIDES.map((name, at) => element("label", { class: "small" }, name, inputs[at])),
  );

  function show(next) {
    crop = next;
    const [left, top, right, bottom] = crop;
    box.style.left = `${left * 100}%`;
    box.style.top = `${top * 100}%`;
    box.style.width = `${(right - left) * 100}%`;
    box.style.height = `${(bottom - top) * 100}%`;
    const percent = crop.map((side) => (side * 100).toFixed(1).replace(/\.0$/, ""));
    inputs.forEach((input, at) => (input.value = percent[at]));
    box.setAttribute("aria-label", `Crop from ${percent[0]}, ${percent[1]} to ${percent[2]}, ${percent[3]} percent; arrow keys move it`);
    for (const [name, sides, handle] of handles) {
      handle.setAttribute("aria-label", `${name} corner at ${percent[sides[0]]}, ${percent[sides[1]]} percent; arrow keys move it`);
    }
  }

  function move(sides, across, down, from = crop) {
    const next = [...from];
    if (sides.length === 4) {
      across = Math.min(Math.max(across, -from[0]), 1 - from[2]);
      down = Math.min(Math.max(down, -from[1]), 1 - from[3]);
    }
    for (const side of sides) {
      const low = side < 2 ? 0 : from[side - 2] + LEAST;
      const high = side < 2 ? from[side + 2] - LEAST : 1;
      const wanted = from[side] + (side % 2 ? down : across);
      next[side] = sides.length === 4 ? wanted : Math.min(Math.max(wanted, low), high);
    }
    show(next);
    changed(next);
  }

  function byKey(event, sides) {
    const far = event.shiftKey ? 0.1 : 0.01;
    const way = { ArrowLeft: [-far, 0], ArrowRight: [far, 0], ArrowUp: [0, -far], ArrowDown: [0, far] }[event.key];
    if (!way) return;
    event.preventDefault();
    event.stopPropagation();
    move(sides, ...way);
  }

  function byNumber(side, input) {
    const wanted = Number(input.value) / 100;
    if (!Number.isFinite(wanted) || input.value === "") return show(crop);
    move([side], side % 2 ? 0 : wanted - crop[side], side % 2 ? wanted - crop[side] : 0);
  }

  function drag(target, sides) {
    target.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.stopPropagation();
      target.focus({ preventScroll: true });
      event.preventDefault();
      target.setPointerCapture(event.pointerId);
      const whole = over.getBoundingClientRect();
      const [x, y] = [event.clientX, event.clientY];
      const from = crop;
      const moved = (next) => move(sides, (next.clientX - x) / whole.width, (next.clientY - y) / whole.height, from);
      const done = () => {
        target.removeEventListener("pointermove", moved);
        target.removeEventListener("pointerup", done);
        target.removeEventListener("pointercancel", done);
      };
      target.addEventListener("pointermove", moved);
      target.addEventListener("pointerup", done);
      target.addEventListener("pointercancel", done);
    });
  }

  over.append(box);
  return { box, numbers, show };
}
