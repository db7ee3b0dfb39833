// What the pictures show, and which model learns it: keyword, class and base, with advice on the keyword.

import { get } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { row } from "../../lib/form.js";
import { jobs } from "../../lib/jobs.js";

const CLASSES = ["person", "man", "woman", "dog", "cat", "toy", "style", "painting style", "building", "car", "object"];

const SECONDS_BETWEEN_LOOKS = 1; // at a shelf that is being looked through

/** changed(): a keyword, class or base is another one now. values() gives them. */
export function subject(changed) {
  const keyword = element("input", { type: "text", maxlength: 100, autocomplete: "off", spellcheck: "false", placeholder: "zqvx" });
  const list = element("datalist", { id: "classes" }, CLASSES.map((name) => element("option", { value: name })));
  const kind = element("input", { type: "text", maxlength: 100, list: list.id, autocomplete: "off", placeholder: "dog" });
  const base = element("select", {}, element("option", { value: "" }, shown("")));
  const ask = element("button", { type: "button", onclick: () => advise() }, "Is it a good keyword?");
  const answer = element("div", { class: "advice", role: "status" });
  const place = element(
    "section",
    { class: "card" },
    element("h2", {}, "2. What they show"),
    element(
      "div",
      { class: "columns" },
      row({ name: "keyword", label: "Keyword", help: "A word that means nothing yet: it will stand for your subject in prompts." }, keyword),
      row({ name: "class", label: "Class", help: "What it is, in a word: dog, woman, style." }, kind),
      row({ name: "base", label: "Base model", help: "The model your LoRA will be trained for. Pocket is a tiny demo model for simple drawings: photographs need another." }, base),
    ),
    list,
    element("p", { class: "bar" }, ask),
    answer,
  );
  for (const control of [keyword, kind, base]) control.addEventListener("change", () => changed());
  let stop = () => {};
  let isLeft = false;

  async function advise() {
    if (!keyword.value.trim()) {
      keyword.focus();
      replace(answer, "Say a keyword first.");
      return;
    }
    ask.disabled = true;
    replace(answer, "Asking the base …");
    try {
      const given = await jobs.give("keyword", { keyword: keyword.value, class: kind.value, base: base.value }, `keyword ${keyword.value}`);
      stop();
      stop = jobs.watch(() => heard(jobs.get(given.id)));
    } catch (error) {
      replace(answer, error.message);
      ask.disabled = false;
    }
  }

  function heard(job) {
    if (!job) return;
    if (job.status === "running" && job.progress.total > 1) replace(answer, `Asking the base: ${job.progress.done} of ${job.progress.total} …`);
    else if (job.status === "queued") replace(answer, "Waits until the base is free …");
    if (!["done", "failed", "cancelled"].includes(job.status)) return;
    stop();
    stop = () => {};
    ask.disabled = false;
    if (job.status !== "done") replace(answer, job.error || "The question was taken back.");
    else tellAdvice(job.result);
  }

  function tellAdvice(found) {
    const others = found.proposals.filter((word) => word !== keyword.value);
    replace(
      answer,
      element("p", { class: `verdict ${found.verdict}` }, found.short),
      element("p", { class: "help" }, [found.sentence, found.problem, found.trap].filter(Boolean).join(". ")),
      others.length ? element("p", { class: "bar" }, "Emptier words: ", others.map((word) => element("button", { type: "button", class: "chip", onclick: () => take(word) }, word))) : null,
    );
  }

  function take(word) {
    keyword.value = word;
    replace(answer, element("p", { class: "verdict good" }, `${word}: good`));
    changed();
  }

  /** The bases on the shelf, now and again as long as it is being looked through. */
  async function loadBases() {
    let names = [];
    try {
      const { models } = await get("/api/models?type=checkpoint&limit=1000");
      names = models.map((model) => model.name).filter((name) => name !== "pocket");
      const { busy } = await get("/api/models/scan");
      if (busy && !isLeft) setTimeout(loadBases, SECONDS_BETWEEN_LOOKS * 1000);
    } catch {
      // the shelf cannot be read; the base that comes with Limner is there all the same
    }
    const chosen = base.value;
    const all = ["", "pocket", ...names, ...(names.includes(chosen) || ["", "pocket"].includes(chosen) ? [] : [chosen])];
    replace(base, all.map((name) => element("option", { value: name }, shown(name))));
    base.value = chosen;
  }

  return {
    place,
    values: () => ({ keyword: keyword.value.trim(), class: kind.value.trim(), base: base.value }),
    show(wishes) {
      keyword.value = wishes.keyword ?? "";
      kind.value = wishes.class ?? "";
      const wanted = wishes.base || "";
      if (![...base.options].some((option) => option.value === wanted)) base.append(element("option", { value: wanted }, shown(wanted)));
      base.value = wanted;
      loadBases();
    },
    close() {
      isLeft = true;
      stop();
    },
  };
}

function shown(name) {
  if (!name) return "none chosen: pocket, for drawings only";
  return name === "pocket" ? "pocket (tiny demo model, comes with Limner)" : name.replace(/^Stable-diffusion\//, "").replace(/\.(safetensors|ckpt)$/, "");
}
