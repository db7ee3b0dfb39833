// Two trainings beside each other: pictures, figures, curves, and in what they differ.

import { get } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { jobs } from "../../lib/jobs.js";
import { duration, megabytes } from "../../lib/words.js";
import { curvesOfTwo } from "./curves.js";
import { table } from "./details.js";
import { pictures } from "./pictures.js";
import { curve, openRun } from "./run.js";
import { aboutOf, stateOf, titleOf, valueOf } from "./words.js";

export async function pairView(page, first, second) {
  const address = `/api/jobs/${first}/against/${second}`;
  const told = await get(address);
  const names = titles(told.jobs);
  const shots = names.map((name) => pictures(name));
  const states = told.jobs.map(() => element("p", {}));
  const figures = element("section", { "aria-label": "Figures" });
  const charts = curvesOfTwo(names);
  const different = element("section", { "aria-label": "Differences" });
  const columns = told.jobs.map((job, at) =>
    element(
      "article",
      { class: "card" },
      element("h2", {}, element("a", { href: `/runs?job=${job.id}` }, names[at])),
      element("p", { class: "soft small" }, aboutOf(job)),
      states[at],
      shots[at].place,
    ),
  );
  replace(
    page,
    element("p", { class: "small" }, element("a", { href: "/runs" }, "All runs")),
    element("h1", {}, "Two trainings"),
    element("div", { class: "pair" }, columns),
    figures,
    charts.place,
    different,
  );

  const runs = [];
  let held = told.jobs;
  function heard() {
    runs.forEach((run, at) => shots[at].update(run));
    charts.update(runs);
    replace(figures, element("h2", {}, "Figures"), table(["", ...names], figuresOf(held, runs)));
  }
  for (const job of told.jobs) runs.push(await openRun(job.id, heard));

  let ended = "";
  async function update() {
    held = told.jobs.map((job) => jobs.get(job.id) ?? job);
    held.forEach((job, at) => (states[at].textContent = stateOf(job)));
    const statuses = held.map((job) => job.status).join();
    if (statuses === ended) return;
    ended = statuses;
    show(different, (await get(address)).differences, names);
    heard();
  }
  await update();
  const unwatch = jobs.watch(update);
  return () => {
    unwatch();
    runs.forEach((run) => run.stop());
  };
}

/** Names that tell them apart. */
function titles(both) {
  const names = both.map(titleOf);
  return names[0] === names[1] ? both.map((job, at) => `${names[at]} (${job.id})`) : names;
}

function figuresOf(both, runs) {
  const last = (run, name) => curve(run, name).at(-1)?.[1];
  const rows = [
    ["Time at work", (job) => job.progress.seconds && duration(job.progress.seconds)],
    ["Step that became the file", (job) => job.progress.kept_step],
    ["Likeness, at last", (job, run) => last(run, "likeness")],
    ["What prompts change, at last", (job, run) => last(run, "prompt_fidelity")],
    ["Near-copies, at last", (job, run) => last(run, "near_copies")],
    ["Loss on unseen pictures, at last", (job, run) => last(run, "held_out_loss")],
    ["Loss while learning, at last", (job) => job.progress.loss],
    ["Size", (job) => job.result?.files?.length && megabytes(job.result.files.reduce((sum, file) => sum + file.size_bytes, 0))],
  ];
  return rows
    .map(([name, figure]) => [name, ...both.map((job, at) => figure(job, runs[at]))])
    .filter(([, ...values]) => values.some((value) => value !== undefined && value !== null && value !== 0))
    .map(([name, ...values]) => [name, ...values.map((value) => (value === undefined || value === null ? "not known" : valueOf(value)))]);
}

function show(place, sections, names) {
  const tables = sections.map((section) => [
    element("h3", {}, section.title),
    table(["", ...names], section.rows.map((row) => [label(row), ...row.values.map(valueOf)])),
  ]);
  const same = element("p", { class: "soft" }, "Their run cards say the same.");
  replace(place, element("h2", {}, "What differs"), tables.length ? tables : same);
}

function label(row) {
  return row.help ? [row.name, element("p", { class: "help" }, row.help)] : row.name;
}
