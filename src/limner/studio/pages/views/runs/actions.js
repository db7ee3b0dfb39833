// What can be asked of a job.

import { element } from "../../lib/dom.js";
import { jobs } from "../../lib/jobs.js";
import { tell } from "../../lib/toast.js";
import { isOpen, isTraining, titleOf } from "./words.js";

const ACTIONS = [
  { ask: "pause", label: "Pause", fits: (job) => isLong(job) && job.status === "running" && !job.progress.asked },
  { ask: "pause", label: "Hold back", fits: (job) => isLong(job) && job.status === "queued" },
  { ask: "resume", label: "Go on", main: true, fits: (job) => ["paused", "failed", "cancelled"].includes(job.status) },
  { ask: "first", label: "Go first", fits: (job, all) => job.status === "queued" && waitsBehind(job, all) },
  {
    ask: "finish",
    label: "Finish and keep the best",
    fits: (job) => isTraining(job) && ((job.status === "running" && !job.progress.asked) || (job.status === "paused" && job.progress.what === "step")),
  },
  { ask: "cancel", label: "Cancel", fits: (job) => isOpen(job) && job.progress.asked !== "cancel" },
];

const isLong = (job) => ["train", "compare", "download"].includes(job.kind);
const waitsBehind = (job, all) => all.some((other) => other.position < job.position && other.lane === job.lane && other.status === "queued");

/** Buttons for a job; update(job) shows those that fit. removed() is called once it is removed. */
export function actions(id, removed = () => {}) {
  let job = null;
  const buttons = ACTIONS.map((action) => ({
    fits: action.fits,
    button: element("button", { type: "button", class: action.main ? "main" : "", onclick: () => jobs.ask(id, action.ask) }, action.label),
  }));
  const away = element("button", { type: "button", onclick: forget }, "Remove");
  buttons.push({ fits: (each) => !["queued", "running"].includes(each.status), button: away });
  const place = element("div", { class: "bar actions" }, buttons.map((each) => each.button));

  async function forget() {
    if (!confirm(`Remove "${titleOf(job)}" with its pictures and its log? What it put on the shelf stays.`)) return;
    await jobs.remove(id);
    tell(`removed: ${titleOf(job)}`);
    removed();
  }

  function update(now) {
    job = now;
    for (const { button, fits } of buttons) {
      button.hidden = !fits(job, jobs.list());
      button.setAttribute("aria-label", `${button.textContent}: ${titleOf(job)}`);
    }
  }
  return { place, update };
}
