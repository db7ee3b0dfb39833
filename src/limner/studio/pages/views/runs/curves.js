// The charts of a run, or of two: what is measured, and how to read it.

import { chart } from "../../lib/chart.js";
import { element } from "../../lib/dom.js";
import { curve } from "./run.js";

const CHARTS = [
  {
    title: "Loss",
    note: "Lower is better. Once unseen pictures are predicted worse while known ones get better, pictures are learned by heart.",
    lines: [["loss", "while learning"], ["frozen_loss", "on known pictures"], ["held_out_loss", "on unseen pictures"]],
  },
  {
    title: "Drawn pictures",
    note: "Likeness: 0 is the base, 1 real pictures. What prompts change: 1 is as much as with the base. Near-copies: their share.",
    lines: [["likeness", "likeness"], ["prompt_fidelity", "what prompts change"], ["near_copies", "near-copies"]],
  },
  {
    title: "Side effects",
    note: "Drift: how differently prompts without the keyword are answered. Binding: how much more the keyword says than the class.",
    lines: [["prediction_drift", "drift"], ["binding", "binding"]],
  },
];
const CLASSES = ["", "second", "third"];

/** The charts of one run. */
export function curves() {
  const made = CHARTS.map((each) => ({ ...each, ...framed(each) }));
  function update(run) {
    for (const { lines, show } of made) {
      show(lines.map(([name, shown], at) => ({ name: shown, points: curve(run, name), class: CLASSES[at] })));
    }
  }
  return { place: element("div", { class: "charts" }, made.map((each) => each.place)), update };
}

const OF_TWO = [
  { title: "Loss while learning", name: "loss" },
  { title: "Loss on unseen pictures", name: "held_out_loss" },
  { title: "Likeness", name: "likeness" },
];

/** One chart for each figure, with a line for each of two runs. */
export function curvesOfTwo(names) {
  const made = OF_TWO.map((each) => ({ ...each, ...framed({ title: each.title, note: "" }) }));
  function update(runs) {
    for (const { name, show } of made) {
      show(runs.map((run, at) => ({ name: names[at], points: run ? curve(run, name) : [], class: CLASSES[at] })));
    }
  }
  return { place: element("div", { class: "charts" }, made.map((each) => each.place)), update };
}

function framed({ title, note }) {
  const drawn = chart(title);
  const place = element("div", { class: "card", hidden: true }, drawn.place, note && element("p", { class: "help" }, note));
  function show(lines) {
    place.hidden = !lines.some((line) => line.points.length);
    if (!place.hidden) drawn.update(lines);
  }
  return { place, show };
}
