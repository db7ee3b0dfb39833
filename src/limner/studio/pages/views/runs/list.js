// The queue and the history. Rows stay the same elements as jobs change, so that focus and place are kept.

import { element, replace } from "../../lib/dom.js";
import { jobs } from "../../lib/jobs.js";
import { duration, when } from "../../lib/words.js";
import { actions } from "./actions.js";
import { KINDS, aboutOf, isOpen, kindOf, shareOf, stateOf, titleOf } from "./words.js";

const LEARNING = "learning"; // trainings and comparisons, which are what people look for
const MOST_SHOWN = 50; // of the history, until more are asked for
const ORDER = { running: 0, queued: 1, paused: 2 };

export function listView(page) {
  const rows = new Map();
  let most = MOST_SHOWN;
  const queue = element("div", { class: "rows" });
  const history = element("div", { class: "rows" });
  const nothing = element("p", { class: "soft" }, "Nothing runs and nothing waits. ", element("a", { href: "/train" }, "Train something"), ".");
  const never = element("p", { class: "soft" }, "Nothing yet.");
  const options = { [LEARNING]: "Trainings and comparisons", "": "Everything", ...KINDS };
  const kinds = element(
    "select",
    { id: "runs-kind", onchange: () => update(jobs.list()) },
    Object.entries(options).map(([kind, label]) => element("option", { value: kind }, label)),
  );
  const more = element("button", { type: "button", onclick: showMore }, "Show more");
  replace(
    page,
    element("h1", {}, "Runs"),
    element("section", { "aria-label": "Queue" }, element("h2", {}, "Queue"), nothing, queue),
    element(
      "section",
      { "aria-label": "History" },
      element("div", { class: "bar head" }, element("h2", {}, "History"), element("span", {}, element("label", { for: kinds.id }, "Show"), kinds)),
      never,
      history,
      more,
    ),
  );

  function showMore() {
    most += MOST_SHOWN;
    update(jobs.list());
  }

  function update(all) {
    const open = all.filter(isOpen).sort(before);
    const ended = all.filter((job) => !isOpen(job) && shows(job, kinds.value)).sort((one, other) => other.ended - one.ended);
    fill(queue, open, all);
    fill(history, ended.slice(0, most), all);
    nothing.hidden = open.length > 0;
    never.hidden = ended.length > 0;
    more.hidden = ended.length <= most;
    const known = new Set(all.map((job) => job.id));
    for (const id of rows.keys()) if (!known.has(id)) rows.delete(id);
  }

  function fill(place, list) {
    const wanted = list.map((job) => {
      if (!rows.has(job.id)) rows.set(job.id, row(job.id));
      rows.get(job.id).update(job);
      return rows.get(job.id).place;
    });
    const same = wanted.length === place.children.length && wanted.every((each, at) => each === place.children[at]);
    if (!same) replace(place, wanted);
  }

  update(jobs.list());
  return jobs.watch(update);
}

function shows(job, kind) {
  if (kind === LEARNING) return job.kind === "train" || job.kind === "compare";
  return !kind || job.kind === kind;
}

function before(one, other) {
  return ORDER[one.status] - ORDER[other.status] || one.position - other.position || one.id - other.id;
}

function row(id) {
  const picture = element("img", { alt: "", loading: "lazy", width: 72, height: 72 });
  const link = element("a", { href: `/runs?job=${id}` });
  const about = element("p", { class: "soft small" });
  const state = element("p", { class: "state" });
  const bar = element("progress", { max: 1 });
  const control = actions(id);
  let shown = null;
  const place = element(
    "article",
    { class: "card row-of-job" },
    element("div", { class: "thumb" }, picture),
    element("div", { class: "what" }, element("h3", {}, link), about, state, bar),
    control.place,
  );

  function update(job) {
    const text = JSON.stringify([job.status, job.progress, job.title, job.error]);
    control.update(job);
    if (text === shown) return;
    shown = text;
    link.textContent = titleOf(job);
    const took = job.progress.seconds && job.status !== "done" ? ` · worked ${duration(job.progress.seconds)} so far` : "";
    about.textContent = [kindOf(job), aboutOf(job), when(job.ended ?? job.started ?? job.created)].filter(Boolean).join(" · ") + (isOpen(job) ? took : "");
    state.textContent = stateOf(job);
    state.className = `state ${job.status === "failed" ? "problem" : ""}`;
    bar.hidden = !["running", "paused"].includes(job.status);
    bar.setAttribute("aria-label", `How far ${titleOf(job)} is`);
    if (shareOf(job) === null) bar.removeAttribute("value");
    else bar.value = shareOf(job);
    const { preview } = job.progress;
    const source = preview ? `/api/jobs/${id}/events/${preview}/file` : "";
    picture.hidden = !preview;
    if (preview && picture.getAttribute("src") !== source) picture.src = source;
  }
  return { place, update };
}
