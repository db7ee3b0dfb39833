// Lines over steps, in SVG: no library is worth its weight for three curves.

import { drawing, element, replace } from "./dom.js";

const WIDTH = 640; // where it is not known yet
const HEIGHT = 220;
const EDGE = { left: 48, right: 12, top: 12, bottom: 28 };
const MOST_POINTS = 600; // of a line; more cannot be told apart
const MOST_DOTS = 12; // of a line whose single points are marked

/** chart("Loss"): update([{ name, points: [[x, y], ...], class }]) draws. The figures are in its table too, for readers. */
export function chart(title, unit = "step") {
  const picture = drawing("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title, class: "chart" });
  const legend = element("p", { class: "keys" });
  const place = element("figure", { class: "chart-place" }, element("figcaption", {}, title), picture, legend);

  let known = [];
  let width = WIDTH;
  new ResizeObserver(([{ contentRect }]) => {
    if (!contentRect.width || Math.abs(contentRect.width - width) < 2) return;
    width = Math.round(contentRect.width); // so that its words are as large as others
    picture.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    update(known);
  }).observe(place);

  function update(lines) {
    known = lines;
    const drawn = lines.filter((line) => line.points.length);
    const all = drawn.flatMap((line) => line.points);
    if (!all.length) return;
    const [x0, x1] = span(all.map(([x]) => x), 0, 1);
    const [y0, y1] = span(all.map(([, y]) => y), -0.5, 0.5);
    const x = (value) => EDGE.left + ((value - x0) / (x1 - x0)) * (width - EDGE.left - EDGE.right);
    const y = (value) => HEIGHT - EDGE.bottom - ((value - y0) / (y1 - y0)) * (HEIGHT - EDGE.top - EDGE.bottom);
    replace(
      picture,
      ticks(y0, y1, 4).map((value) => [
        drawing("line", { x1: EDGE.left, x2: width - EDGE.right, y1: y(value), y2: y(value), class: "grid" }),
        drawing("text", { x: EDGE.left - 6, y: y(value) + 4, "text-anchor": "end" }, short(value)),
      ]),
      ticks(x0, x1, Math.max(2, Math.round(width / 100))).filter(Number.isInteger).map((value) => drawing("text", { x: x(value), y: HEIGHT - 8, "text-anchor": "middle" }, short(value))),
      drawn.map((line) => drawing("path", { class: `line ${line.class ?? ""}`, d: path(thin(line.points), x, y) })),
      drawn.map((line) => dots(line, x, y)),
    );
    const last = drawn.map((line) => `${line.name} ${short(line.points.at(-1)[1])}`).join(", ");
    picture.setAttribute("aria-label", `${title} up to ${unit} ${short(all.at(-1)[0])}: ${last}`);
    replace(legend, drawn.map((line) => element("span", { class: `key ${line.class ?? ""}` }, line.name)));
  }
  return { place, update };
}

function path(points, x, y) {
  return points.map(([px, py], at) => `${at ? "L" : "M"}${x(px).toFixed(1)} ${y(py).toFixed(1)}`).join("");
}

/** Of a few points each shows, a single one too. */
function dots(line, x, y) {
  if (line.points.length > MOST_DOTS) return [];
  return line.points.map(([px, py]) => drawing("circle", { class: `dot ${line.class ?? ""}`, cx: x(px), cy: y(py), r: 3 }));
}

function thin(points) {
  const every = Math.ceil(points.length / MOST_POINTS);
  return every === 1 ? points : points.filter((_, at) => at % every === 0 || at === points.length - 1);
}

/** From the lowest to the highest; around a single value so far as is said. */
function span(values, below, above) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low === high ? [low + below, high + above] : [low, high];
}

function ticks(low, high, about) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((each) => each >= rough);
  const first = Math.ceil(low / step);
  const last = Math.floor(high / step + 1e-6);
  return Array.from({ length: last - first + 1 }, (_, at) => (first + at) * step); // zero is zero
}

function short(value) {
  return Number(value.toPrecision(3)).toString();
}
