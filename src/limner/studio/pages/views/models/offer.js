// What a site offers: what it is, whether it may be taken, and its download in place.

import { get } from "../../lib/api.js";
import { copyButton } from "../../lib/copy.js";
import { element, replace } from "../../lib/dom.js";
import { jobs } from "../../lib/jobs.js";
import { megabytes } from "../../lib/words.js";
import { drawAddress, kindOf } from "./names.js";
import { OPEN, transfer } from "./transfer.js";

const MOST_WORDS = 6;
const AGREE = {
  pickle: "I know this maker: take the pickle. Limner reads it without running it; other programs may run it.",
  unverified: "Take it though nobody has checked it.",
};

/** found: a row of GET /api/search. leaving(f): f is called when the row goes. */
export function offer(found, leaving) {
  const place = element("div", { class: "offer-state" });
  const part = transfer();
  let wanted = { agree: found.agree, files: found.files };
  let state = "";
  let given = null; // the job that this page gave

  async function fetchIt() {
    const agreed = Object.keys(wanted.agree).filter((name) => place.querySelector(`[name=${name}]`)?.checked);
    const file = place.querySelector("select")?.value;
    const request = { id: found.id, ...(file ? { file } : {}), ...Object.fromEntries(agreed.map((name) => [name, true])) };
    given = await jobs.give("download", request, [found.title, found.version].filter(Boolean).join(", "));
    watch(jobs.list());
  }

  function ask(problem = "") {
    const agreements = Object.entries(wanted.agree).map(([name, reason]) => [
      element("p", { class: "warning small" }, `${reason}.`),
      element("label", { class: "check small" }, element("input", { type: "checkbox", name }), AGREE[name]),
    ]);
    const start = element("button", { type: "button", class: "main", onclick: fetchIt }, problem ? "Try again" : "Download");
    const boxes = agreements.map(([, label]) => label.firstChild);
    const ready = () => (start.disabled = boxes.some((box) => !box.checked));
    for (const box of boxes) box.addEventListener("change", ready);
    ready();
    const choice = wanted.files.length ? element("select", { "aria-label": "Which file" }, wanted.files.map((name) => element("option", { value: name }, name))) : null;
    replace(place, problem ? element("p", { class: "problem small", role: "alert" }, problem) : null, choice, agreements, start);
  }

  function here(model, words) {
    const keywords = words.length ? element("p", { class: "bar chips" }, words.slice(0, MOST_WORDS).map((word) => copyButton(word))) : null;
    replace(
      place,
      element("p", { class: "good" }, words.length ? "On the shelf. Its keywords:" : "On the shelf."),
      keywords,
      element("p", { class: "bar" }, element("a", { class: "button", href: drawAddress(model) }, "Draw with it")),
    );
  }

  async function ended(job) {
    if (job.status === "done") {
      const model = await get(`/api/models/one?${new URLSearchParams({ name: job.result.name })}`).catch(() => null);
      return model ? here(model, job.result.keywords) : replace(place, element("p", { class: "good" }, "On the shelf."));
    }
    if (job.status === "cancelled") return ask();
    // What it lacked is in its events: terms that only the site's answer or the file itself tells.
    let problem = job.error;
    await new Promise((resolve) => {
      leaving(
        jobs.follow(job.id, (event) => {
          if (event.event === "NotAgreed") {
            problem = event.agree ? "" : event.reason;
            wanted = { agree: event.agree ? { ...wanted.agree, [event.agree]: event.reason } : wanted.agree, files: event.files };
          }
          if (event.event === "Ended") resolve();
        }),
      );
    });
    return ask(problem);
  }

  function watch(all) {
    const job = given ? (all.find((each) => each.id === given.id) ?? given) : all.find((each) => each.kind === "download" && each.request.id === found.id && each.status !== "cancelled" && each.status !== "failed");
    if (!job) return;
    given = job;
    const isOpen = OPEN.includes(job.status);
    if (isOpen) {
      if (state !== "open") replace(place, part.place);
      part.show(job);
      state = "open";
    } else if (state !== `${job.id} ${job.status}`) {
      state = `${job.id} ${job.status}`;
      ended(job);
    }
  }

  if (found.here) here(shelved(found), found.keywords);
  else if (found.refused) replace(place, element("p", { class: "problem small" }, `${found.refused}.`));
  else {
    ask();
    leaving(jobs.watch(watch));
  }
  return element("li", { class: "card offer" }, about(found), place);
}

function shelved(found) {
  const stem = found.here.split("/").at(-1).replace(/\.[^.]*$/, "");
  return { name: found.here, stem, kind: found.kind, keywords: found.keywords };
}

function about(found) {
  const scans = Object.entries(found.scans);
  const isClean = scans.length && scans.every(([, result]) => result === "Success");
  const facts = [
    found.kind && kindOf(found),
    found.base,
    found.size_bytes && megabytes(found.size_bytes),
    [found.format, found.precision].filter(Boolean).join(" "),
    found.downloads !== null && found.downloads !== undefined && `${found.downloads.toLocaleString()} downloads`,
    found.published,
    found.creator && `by ${found.creator}`,
  ].filter(Boolean);
  return element(
    "div",
    { class: "offer-text" },
    element("h3", {}, found.page ? element("a", { href: found.page, target: "_blank", rel: "noopener noreferrer" }, found.title) : found.title),
    found.version ? element("p", { class: "small" }, found.version) : null,
    facts.length ? element("p", { class: "soft small" }, facts.join(" · ")) : null,
    found.keywords.length ? element("p", { class: "small" }, `Called by ${found.keywords.slice(0, MOST_WORDS).join(", ")}`) : null,
    found.remark ? element("p", { class: "warning small" }, found.remark) : null,
    scans.length ? element("p", { class: `small ${isClean ? "good" : found.is_dangerous ? "problem" : "warning"}` }, isClean ? "scanned, nothing found" : scans.map(([name, result]) => `${name} scan: ${result || "not done"}`).join(", ")) : null,
  );
}
