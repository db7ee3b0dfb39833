// What a comparison of methods found: which to take, the figures, and the same prompts drawn by each.

import { element } from "../../lib/dom.js";
import { duration, megabytes } from "../../lib/words.js";
import { table } from "./details.js";
import { happened } from "./run.js";

const BASE = "base"; // whose pictures are those before any training
const UNKNOWN = "not known";
const MEASURES = { likeness: "Likeness", style: "Closeness to the style" };

/** null as long as there is nothing. */
export function comparison(job, run) {
  if (job.kind !== "compare" || job.status !== "done") return null;
  const { advice, methods } = job.result;
  return [
    element(
      "div",
      { class: "card" },
      advice.map((text, at) => element("p", { class: at === advice.length - 1 ? "advised" : "" }, text)),
      figures(methods),
      element(
        "div",
        { class: "bar" },
        element("a", { class: "button main", href: `/api/jobs/${job.id}/report.html`, target: "_blank", rel: "noopener" }, "Open the report"),
        element("a", { class: "button", href: `/api/jobs/${job.id}/report.json`, download: "report.json" }, "Its figures (JSON)"),
      ),
    ),
    pictures(methods, run),
  ];
}

function figures(methods) {
  const judged = methods.filter((method) => !method.failure);
  const measure = MEASURES[judged[0]?.measure] ?? MEASURES.likeness;
  return [
    methods.filter((method) => method.failure).map((method) => element("p", { class: "problem" }, `${method.method} has no figures: ${method.failure}`)),
    table(["Method", measure, "Prompts kept", "Steps", "Time", "File"], judged.map(row)),
    element("p", { class: "help" }, `${measure}: 0 is the base, 1 the best it could do; after ± the spread over the drawings. Prompts kept: how much of what other prompts draw is still there.`),
  ];
}

function row(method) {
  const spread = method.deviation == null ? "" : `\u00a0±\u00a0${method.deviation.toFixed(2)}`;
  return [
    method.method,
    method.score == null ? UNKNOWN : `${method.score.toFixed(2)}${spread}`,
    method.fidelity_kept == null ? UNKNOWN : `${Math.round(100 * method.fidelity_kept)}%`,
    method.steps,
    duration(method.seconds),
    megabytes(method.size_bytes),
  ];
}

/** A row for each prompt, a column for each state, all from the same noise. */
function pictures(methods, run) {
  const shown = new Map(happened(run, "Compared").map((event) => [`${event.state} ${event.prompt}`, event]));
  const events = [...shown.values()];
  const states = [BASE, ...methods.map((method) => method.method)].filter((state) => events.some((event) => event.state === state));
  if (!states.length) return null;
  const prompts = [...new Set(events.map((event) => event.prompt))];
  const picture = (state, prompt) => {
    const address = `/api/jobs/${run.id}/events/${shown.get(`${state} ${prompt}`).seq}/file`;
    return element(
      "figure",
      {},
      element("a", { href: address, target: "_blank" }, element("img", { src: address, alt: `${nameOf(state)}: ${prompt}` })),
      element("figcaption", {}, nameOf(state)),
    );
  };
  return element(
    "section",
    { class: "card compared", "aria-label": "Pictures of the methods" },
    element("h2", {}, "The same prompts, drawn by each"),
    prompts.map((prompt) => [element("p", {}, prompt), element("div", { class: "strip" }, states.map((state) => picture(state, prompt)))]),
  );
}

const nameOf = (state) => (state === BASE ? "Before" : state);
