// What came of a job: its files, how to use them, and why they are what they are.

import { copyButton } from "../../lib/copy.js";
import { element, replace } from "../../lib/dom.js";
import { megabytes } from "../../lib/words.js";
import { comparison } from "./comparison.js";
import { happened } from "./run.js";

/** update(job, run): job with its result, as GET /api/jobs/N has it. */
export function result() {
  const place = element("section", { hidden: true, "aria-label": "Result" });
  let shown = "";

  function update(job, run) {
    const key = JSON.stringify([job.status, job.result, job.progress.kept_step, happened(run, "Exported", "Compared").length]);
    if (key === shown) return;
    shown = key;
    const parts = [kept(job, run), files(job, run), comparison(job, run)].filter(Boolean);
    place.hidden = !parts.length;
    replace(place, parts);
  }
  return { place, update };
}

function kept(job, run) {
  const last = happened(run, "Kept").at(-1);
  const done = happened(run, "Done").at(-1);
  if (!last && !done) return null;
  return element(
    "div",
    { class: "card" },
    done && element("p", {}, sentence(done.reason)),
    last && element("p", {}, `The state after step ${last.step} became the file: ${last.reason}.`),
  );
}

function files(job, run) {
  const exported = happened(run, "Exported").filter((event) => job.result?.files?.some((file) => file.file === event.file));
  const latest = new Map(exported.map((event) => [event.file, event]));
  if (!latest.size) return null;
  return element("div", { class: "cards" }, job.result.files.map((file) => card(job, file, latest.get(file.file))));
}

function card(job, file, event) {
  const stem = file.file.replace(/\.safetensors$/, "");
  const prompt = promptOf(job, file.kind, stem);
  const values = { base: file.kind === "checkpoint" ? file.name : job.request.base, prompt };
  return element(
    "article",
    { class: "card file" },
    element("h3", { class: "mono" }, file.file),
    element("p", { class: "soft small" }, `${megabytes(file.size_bytes)} · ${kindOf(file.kind)}`),
    event?.readers.length > 0 && element("p", { class: "soft small" }, `Read as trained by ${event.readers.join(", ")}`),
    element("p", { class: "small" }, "In prompts: ", copyButton(prompt)),
    element(
      "div",
      { class: "bar" },
      element("a", { class: "button main", href: `/generate?${new URLSearchParams(values)}` }, "Draw with it"),
      event && element("a", { class: "button", href: `/api/jobs/${job.id}/events/${event.seq}/file`, download: file.file }, "Download"),
    ),
  );
}

const kindOf = (kind) => ({ lora: "LoRA", embedding: "embedding", checkpoint: "checkpoint" })[kind] ?? kind;

/** What calls the subject: the file's tag, the keyword and the class. */
function promptOf(job, kind, stem) {
  const { keyword, class: subject } = job.request;
  const said = [keyword, subject].filter(Boolean).join(" ");
  if (kind === "lora") return `<lora:${stem}:1> ${said}`.trim();
  return kind === "embedding" ? [stem, subject].filter(Boolean).join(" ") : said;
}

function sentence(text) {
  return `${text[0].toUpperCase()}${text.slice(1)}${text.endsWith(".") ? "" : "."}`;
}
