// What is being drawn and what waits for it: how far it is, stop and skip.

import { element, replace } from "../../lib/dom.js";
import { jobs } from "../../lib/jobs.js";
import { duration } from "../../lib/words.js";

const KINDS = ["generate", "grid"];

/** queuePart(came): came() is called whenever pictures have come. */
export function queuePart(came) {
  const opened = Date.now() / 1000;
  const list = element("ul", { class: "queue plain" });
  const heard = element("p", { class: "unseen", role: "status" });
  const place = element("div", {}, list, heard);
  const cards = new Map();
  const told = new Map();
  const dismissed = new Set(); // of jobs that are done, but with a warning

  const leave = jobs.watch((all) => {
    const ours = all.filter((job) => KINDS.includes(job.kind));
    const shown = ours.filter((job) => ["running", "queued"].includes(job.status) || (isNews(job) && job.ended > opened && !dismissed.has(job.id))).reverse();
    for (const id of [...cards.keys()]) if (!shown.some((job) => job.id === id)) cards.delete(id);
    for (const job of shown) {
      if (!cards.has(job.id)) cards.set(job.id, card(job, dismiss));
      cards.get(job.id).update(job);
    }
    const now = shown.map((job) => cards.get(job.id).place);
    if (now.length !== list.children.length || now.some((each, number) => each !== list.children[number])) replace(list, now);
    hear(ours);
  });

  function dismiss(job) {
    if (job.status === "failed") return jobs.remove(job.id);
    dismissed.add(job.id);
    cards.get(job.id).place.remove();
  }

  /** Pictures that came, and what has ended, said once. */
  function hear(ours) {
    let news = false;
    for (const job of ours) {
      const last = told.get(job.id);
      const state = `${job.status} ${job.progress.preview ?? ""}`;
      const isNew = last === undefined ? job.status === "running" || job.ended > opened : last !== state;
      if (isNew && job.progress.preview) news = true;
      if (last !== undefined && last !== state && job.status === "done") heard.textContent = `Drawn: ${job.title}`;
      if (last !== undefined && last !== state && job.status === "failed") heard.textContent = job.error;
      told.set(job.id, state);
    }
    if (news) came();
  }

  return { place, leave };
}

/** Whether there is something to read of a job that is over. */
function isNews(job) {
  return job.status === "failed" || (job.status === "done" && job.progress.warning);
}

function card(first, dismiss) {
  const title = element("p", { class: "title" }, first.title);
  const bar = element("progress", { max: 1, "aria-label": `How far: ${first.title}` });
  const words = element("p", { class: "small soft" });
  const skip = element("button", { type: "button", onclick: () => jobs.ask(first.id, "skip") }, "Skip");
  const stop = element("button", { type: "button" }, "Stop");
  const place = element("li", { class: "card" }, title, bar, element("div", { class: "bar" }, words, skip, stop));

  function update(job) {
    const { done, total, seconds_left: left } = job.progress;
    const isOver = isNews(job);
    bar.hidden = isOver;
    if (job.status === "running" && total) bar.value = done / total;
    else if (job.status === "running") bar.removeAttribute("value");
    else bar.value = 0;
    const warning = job.progress.warning ?? "";
    const state = job.status === "queued" ? "waits for its turn" : job.status === "done" ? "" : far(job, left);
    words.textContent = job.error || [state, warning].filter(Boolean).join(" · ");
    words.className = job.status === "failed" ? "small problem" : warning ? "small warning" : "small soft";
    skip.hidden = job.kind === "grid" || job.status !== "running" || job.request.count <= job.request.batch_size;
    stop.textContent = isOver ? "Dismiss" : "Stop";
    stop.onclick = () => (isOver ? dismiss(job) : jobs.ask(job.id, ending(job)));
  }
  return { place, update };
}

/** Stopped, a job leaves the picture that it is at as far as it is; a grid, and what has not begun, nothing. */
function ending(job) {
  return job.kind === "generate" && job.status === "running" && job.progress.total ? "finish" : "cancel";
}

function far(job, left) {
  const { done, total, what } = job.progress;
  if (!total || what.startsWith("opening")) return total ? what : "opening the model";
  const time = left === null ? "" : ` · ${duration(left)} left`;
  if (job.kind === "grid") return `${done} of ${total} pictures${time}`;
  const steps = total / job.request.count;
  const picture = Math.min(job.request.count, Math.floor(done / steps) + 1);
  const which = job.request.count > 1 ? `picture ${picture} of ${job.request.count}, ` : "";
  return `${which}step ${Math.round(done - (picture - 1) * steps)} of ${Math.round(steps)}${time}`;
}
