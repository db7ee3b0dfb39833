// All that is known of a model, in a dialog.

import { get } from "../../lib/api.js";
import { copyButton } from "../../lib/copy.js";
import { element, replace } from "../../lib/dom.js";
import { jobs } from "../../lib/jobs.js";
import { megabytes, when } from "../../lib/words.js";
import { family, kindOf, origin } from "./names.js";
import { tidy } from "./tidy.js";

const MOST_TAGS = 60;

/** changed(): called when the shelf is no longer as it was. */
export function details(model, changed) {
  const body = element("div", { class: "model-details" });
  const close = element("button", { type: "button", onclick: () => dialog.close() }, "Close");
  const heading = element("h2", { id: "model-heading", tabindex: -1, autofocus: true }, model.title);
  const dialog = element("dialog", { "aria-labelledby": "model-heading", class: "model-dialog" }, heading, body, element("div", { class: "bar end" }, close));
  let leave = () => {};
  dialog.addEventListener("close", () => {
    leave();
    dialog.remove();
  });
  const gone = () => {
    dialog.close();
    changed();
  };
  const fill = (now) => replace(body, sections(now, (end) => (leave = end), fill, gone));
  fill(model);
  document.body.append(dialog);
  dialog.showModal();
  addEventListener("popstate", () => dialog.close(), { once: true });
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog || event.target.closest("a:not([target]):not([download])")) dialog.close();
  });
}

function sections(model, watching, fill, gone) {
  return [
    model.problem ? element("p", { class: "problem" }, model.problem) : null,
    model.refusal ? element("p", { class: "warning" }, model.refusal) : null,
    model.warnings.map((warning) => element("p", { class: "warning" }, warning)),
    facts(model),
    model.keywords.length ? [element("h3", {}, "Words that call it"), element("p", { class: "bar chips" }, model.keywords.map((word) => copyButton(word)))] : null,
    readers(model),
    tags(model),
    model.built_in ? null : [files(model, watching, fill), tidy(model, gone)],
  ];
}

function facts(model) {
  const rows = {
    File: model.built_in ? "part of Limner" : model.name,
    Kind: kindOf(model) + (model.container === "pickle" ? ", a pickle: it is only ever read without running it" : ""),
    Base: [family(model.family), model.base_name && `(${model.base_name})`].filter(Boolean).join(" "),
    Predicts: model.prediction_type,
    Ranks: model.ranks.join(", "),
    Alias: model.alias,
    Size: model.size_bytes ? megabytes(model.size_bytes) : "",
    Changed: model.changed ? when(model.changed) : "",
    "SHA-256": model.sha256,
    AutoV2: model.autov2,
    AutoV3: model.autov3,
    "Its page calls it": model.origin ? [model.origin.title, model.origin.version].filter(Boolean).join(", ") : "",
  };
  const shown = Object.entries(rows).filter(([, value]) => value);
  return element("dl", { class: "facts" }, shown.map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
}

function readers(model) {
  if (!model.readers.length) return null;
  const rows = model.readers.map((reader) => {
    const silent = reader.loads === null ? "not known" : reader.loads ? "as it was made" : "does not load it";
    const says = reader.says || silent;
    return element("tr", {}, element("th", { scope: "row" }, reader.name), element("td", { class: reader.loads && !reader.says ? "good" : "warning" }, says));
  });
  return [element("h3", {}, "Loads in"), element("table", {}, element("tbody", {}, rows))];
}

function tags(model) {
  const told = [...new Set([...model.tags, ...model.words])].slice(0, MOST_TAGS);
  if (!told.length) return null;
  return [element("h3", {}, "What it was trained with"), element("p", { class: "model-tags" }, told.map((tag) => element("span", { class: "tag" }, tag)))];
}

function files(model, watching, fill) {
  const address = `/api/models/file?${new URLSearchParams({ name: model.name })}`;
  const told = element("p", { class: "small", role: "status" });
  const hash = element("button", { type: "button" }, "Work out its hash");
  hash.addEventListener("click", async () => {
    hash.disabled = true;
    replace(told, "reading the whole file...");
    const job = await jobs.give("hash", { names: [model.name] }, `hash of ${model.title}`);
    watching(
      jobs.watch(async (all) => {
        const now = all.find((each) => each.id === job.id);
        if (now?.status === "failed") replace(told, now.error);
        if (now?.status === "done") fill(await get(`/api/models/one?${new URLSearchParams({ name: model.name })}`));
      }),
    );
  });
  return [
    origin(model),
    element("div", { class: "bar" }, element("a", { class: "button", href: address, download: "" }, "Save a copy"), model.sha256 || model.problem ? null : hash),
    told,
  ];
}
