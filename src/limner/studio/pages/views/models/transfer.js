// How far a download is, and what can be said to it.

import { element, replace } from "../../lib/dom.js";
import { jobs } from "../../lib/jobs.js";
import { duration, megabytes } from "../../lib/words.js";

export const OPEN = ["queued", "running", "paused"];

/** show(job) brings `place` up to date; elements stay, so that focus does. */
export function transfer() {
  const bar = element("progress", { max: 1, "aria-label": "Download" });
  const told = element("p", { class: "small", role: "status" });
  let job = null;
  const button = (label, ask) => element("button", { type: "button", onclick: () => jobs.ask(job.id, ask) }, label);
  const pause = button("Pause", "pause");
  const resume = button("Go on", "resume");
  const cancel = button("Cancel", "cancel");
  const place = element("div", { class: "transfer" }, bar, told, element("p", { class: "bar" }, pause, resume, cancel));

  function show(now) {
    job = now;
    const { done, total } = now.progress;
    const isFetching = now.progress.what === "fetching";
    if (isFetching && total) bar.value = done / total;
    else bar.removeAttribute("value");
    bar.hidden = now.status === "queued" || (now.status === "paused" && !isFetching);
    pause.hidden = now.status !== "running";
    resume.hidden = now.status !== "paused";
    const text = words(now, isFetching);
    if (told.textContent !== text) replace(told, text);
  }
  return { place, show };
}

function words(job, isFetching) {
  const { done, total, seconds_left: left } = job.progress;
  const amount = !isFetching ? "" : total ? `${megabytes(done)} of ${megabytes(total)}` : megabytes(done);
  if (job.status === "queued") return "waits for its turn";
  if (job.status === "paused") return ["paused", amount].filter(Boolean).join(", ");
  if (!isFetching) return "starting";
  if (total && done >= total) return "all of it is here; checking it";
  return left ? `${amount}, ${duration(left)} left` : amount;
}
