// What jobs are and how far they have come, in words.

import { duration } from "../../lib/words.js";

export const KINDS = {
  train: "Training",
  compare: "Comparison",
  generate: "Pictures",
  grid: "Grid",
  check: "Look at pictures",
  prepare: "Preparing of pictures",
  keyword: "Keyword advice",
  dryrun: "Estimate",
  download: "Download",
  hash: "Hashes",
};

const STATUSES = { queued: "waits", running: "runs", paused: "paused", done: "done", failed: "failed", cancelled: "cancelled" };

const ASKED = {
  pause: "Pauses as soon as its state is saved",
  cancel: "Ends",
  finish: "Finishes with the best state so far",
  yield: "Stops, as the studio closes",
};

export const kindOf = (job) => KINDS[job.kind] ?? job.kind;
export const statusOf = (job) => STATUSES[job.status] ?? job.status;
export const isOpen = (job) => ["queued", "running", "paused"].includes(job.status);
export const isTraining = (job) => job.kind === "train";

/** "My dog": its title, unless it has none but its kind. */
export function titleOf(job) {
  if (job.title && job.title !== job.kind) return job.title;
  const { keyword, class: kind } = job.request;
  return keyword ? `${keyword} ${kind ?? ""}`.trim() : `${kindOf(job)} ${job.id}`;
}

/** What it learns with: "lora on pocket". */
export function aboutOf(job) {
  const { method, methods, base } = job.request;
  const model = (base === "" ? "pocket" : base)?.split("/").at(-1)?.replace(/\.safetensors$/, "");
  return [method ?? methods?.replaceAll(",", ", "), model && `on ${model}`].filter(Boolean).join(" ");
}

/** How far it is, in a sentence without its full stop. */
export function stateOf(job) {
  const { progress } = job;
  if (job.error && ["queued", "running"].includes(job.status)) return `Stopped: ${job.error}`;
  if (job.status === "queued") return progress.seconds ? "Waits, and goes on from where it was" : "Waits for its turn";
  if (job.status === "paused") return progress.what === "step" ? `Paused at step ${progress.done} of ${progress.total}` : "Paused";
  if (job.status === "failed") return `Failed: ${job.error}`;
  if (job.status === "cancelled") return "Cancelled";
  if (job.status === "done") return progress.seconds ? `Done after ${duration(progress.seconds)}` : "Done";
  if (ASKED[progress.asked]) return ASKED[progress.asked];
  return running(progress);
}

function running({ what, done, total, seconds_left: left }) {
  const rest = left === null || left === undefined ? "" : `, about ${duration(left)} left`;
  if (what === "step") return `Step ${done} of ${total}${rest}`;
  const name = what ? what[0].toUpperCase() + what.slice(1) : "Starting";
  return total ? `${name}: ${done} of ${total}${rest}` : `${name}${rest}`;
}

/** 0..1, or null if that cannot be told. */
export function shareOf(job) {
  const { done, total } = job.progress;
  if (job.status === "done") return 1;
  return total ? done / total : null;
}

/** A value of a setting as it is written. */
export function valueOf(value) {
  if (value === null || value === undefined) return "not said";
  if (value === true) return "yes";
  if (value === false) return "no";
  if (typeof value === "number" && !Number.isInteger(value)) return String(Number(value.toPrecision(4)));
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
