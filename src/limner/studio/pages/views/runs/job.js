// One job: how far it is, what it drew and measured, what came of it and why.

import { go } from "../../app.js";
import { get } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { jobs } from "../../lib/jobs.js";
import { duration, when } from "../../lib/words.js";
import { actions } from "./actions.js";
import { curves } from "./curves.js";
import { details } from "./details.js";
import { pictures } from "./pictures.js";
import { result } from "./result.js";
import { happened, openRun } from "./run.js";
import { aboutOf, isTraining, kindOf, shareOf, stateOf, titleOf } from "./words.js";

export async function jobView(page, id) {
  let job = await get(`/api/jobs/${id}`);
  const heading = element("h1", {}, titleOf(job));
  const about = element("p", { class: "soft" });
  const state = element("p", { class: "state" });
  const told = element("p", { class: "hidden-text", role: "status" });
  const bar = element("progress", { max: 1, "aria-label": "How far it is" });
  const control = actions(id, () => go("/runs"));
  const warned = element("ul", { class: "warnings", "aria-label": "Warnings" });
  const shots = pictures(titleOf(job), "card");
  const charts = curves();
  const made = result(job);
  const facts = details(job);
  const log = logOf(id);
  const beside = isTraining(job) ? compareWith(id) : null;
  replace(
    page,
    element("p", { class: "small" }, element("a", { href: "/runs" }, "All runs")),
    heading,
    about,
    element("div", { class: "card" }, state, bar, control.place, told),
    log.place,
    warned,
    made.place,
    shots.place,
    charts.place,
    facts.place,
    beside?.place,
  );

  function heard() {
    shots.update(run);
    charts.update(run);
    replace(warned, [...new Set(happened(run, "Warned").map((event) => event.message))].map((message) => element("li", {}, message)));
    warned.hidden = !warned.children.length;
    made.update(job, run);
    facts.update(job, run);
  }

  let status = null;
  async function update(now) {
    const text = stateOf(now);
    state.textContent = text;
    state.className = `state ${now.status === "failed" ? "problem" : ""}`;
    about.textContent = aboutLine(now);
    bar.hidden = !["running", "paused"].includes(now.status);
    if (shareOf(now) === null) bar.removeAttribute("value");
    else bar.value = shareOf(now);
    control.update(now);
    log.update(now);
    if (status === now.status) return;
    if (status !== null) told.textContent = text; // only turns are read out, not every step
    status = now.status;
    job = await get(`/api/jobs/${id}`);
    heard();
  }

  const run = await openRun(id, heard);
  await update(job);
  const unwatch = jobs.watch((all) => {
    const now = jobs.get(id);
    if (now) update(now);
    else if (all.length && !jobs.get(id)) state.textContent = "It was removed";
    beside?.update(all);
  });
  return () => {
    unwatch();
    run.stop();
  };
}

function aboutLine(job) {
  const times = [job.started && `begun ${when(job.started)}`, job.ended && `ended ${when(job.ended)}`];
  const worked = job.progress.seconds && job.status !== "done" ? `worked ${duration(job.progress.seconds)}` : null;
  return [kindOf(job), aboutOf(job), ...times, worked].filter(Boolean).join(" · ");
}

/** What the worker printed, fetched when it is asked for. */
function logOf(id) {
  const text = element("pre", { class: "log mono", tabindex: 0, "aria-label": "Log" });
  const place = element("details", { hidden: true, ontoggle: () => place.open && fetchLog() }, element("summary", {}, "What its worker printed"), text);
  async function fetchLog() {
    const answer = await fetch(`/api/jobs/${id}/log`);
    text.textContent = (await answer.text()) || "Nothing.";
  }
  return {
    place,
    update(job) {
      place.hidden = job.status !== "failed";
    },
  };
}

/** A choice of another training to look at beside this one. */
function compareWith(id) {
  const choice = element("select", { id: "runs-with", onchange: () => choice.value && go(`/runs?job=${id}&with=${choice.value}`) });
  const place = element("div", { class: "bar", hidden: true }, element("label", { for: "runs-with" }, "Beside another training"), choice);
  let shown = "";
  function update(all) {
    const others = all.filter((job) => isTraining(job) && job.id !== id);
    const text = others.map((job) => `${job.id} ${titleOf(job)}`).join("\n");
    place.hidden = !others.length;
    if (text === shown) return;
    shown = text;
    replace(
      choice,
      element("option", { value: "" }, "choose one"),
      others.map((job) => element("option", { value: job.id }, `${titleOf(job)} (${[aboutOf(job), when(job.created)].join(", ")})`)),
    );
  }
  return { place, update };
}
