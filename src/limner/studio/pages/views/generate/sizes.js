// Width and height: those that the base's family was trained at, or any others.

import { element, replace } from "../../lib/dom.js";
import { row } from "../../lib/form.js";

const SQUARES = [[1024, 1024], [896, 1152], [1152, 896], [832, 1216], [1216, 832], [768, 1344], [1344, 768]];
const SMALL = [[512, 512], [512, 768], [768, 512], [640, 448], [448, 640]];
const FAMILIES = {
  sd1: SMALL,
  sd2: [[768, 768], [512, 512], [768, 1024], [1024, 768]],
  sdxl: SQUARES,
  sd3: SQUARES,
};
const POCKET = [[128, 128], [128, 192], [192, 128]];
const OWN = "own";
const OTHER = "other";

/** offer(model): the sizes of its family. values(): width and height, null for the base's own. */
export function sizes() {
  const preset = element("select", { onchange: preset_chosen });
  const width = side("Width");
  const height = side("Height");
  const other = element(
    "div",
    { class: "sides" },
    width,
    element("button", { type: "button", title: "Swap width and height", "aria-label": "Swap width and height", onclick: swap }, "⇄"),
    height,
  );
  let offered = [];

  function preset_chosen() {
    const found = offered.find((each) => name(each) === preset.value);
    if (found) [width.value, height.value] = found;
    else if (preset.value === OWN) width.value = height.value = "";
    else if (width.value === "") [width.value, height.value] = offered[0];
    show();
  }

  function show() {
    const now = [Number(width.value), Number(height.value)];
    const known = offered.find((each) => name(each) === name(now));
    if (width.value === "" && height.value === "") preset.value = OWN;
    else if (known && preset.value !== OTHER) preset.value = name(known);
    else preset.value = OTHER;
    other.hidden = preset.value !== OTHER;
  }

  function swap() {
    [width.value, height.value] = [height.value, width.value];
    width.dispatchEvent(new Event("input", { bubbles: true }));
  }

  return {
    place: element("div", { class: "size" }, row({ name: "size", label: "Size", help: "", type: "choice" }, preset), other),
    offer(model) {
      offered = model?.built_in ? POCKET : (FAMILIES[model?.family] ?? SMALL);
      replace(
        preset,
        element("option", { value: OWN }, "the base's own"),
        offered.map((each) => element("option", { value: name(each) }, name(each))),
        element("option", { value: OTHER }, "another"),
      );
      preset.value = OWN;
      show();
    },
    values: () => ({ width: number(width), height: number(height) }),
    fill(given) {
      if ("width" in given) width.value = given.width ?? "";
      if ("height" in given) height.value = given.height ?? "";
      preset.value = OWN;
      show();
    },
  };
}

function side(label) {
  return element("input", { type: "number", min: 64, max: 2048, step: 8, "aria-label": `${label} in pixels`, placeholder: label });
}

function number(control) {
  return control.value === "" ? null : Number(control.value);
}

function name([width, height]) {
  return `${width} x ${height}`;
}
