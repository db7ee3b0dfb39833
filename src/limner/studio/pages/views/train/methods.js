// How it is learned: three cards that say what each gives, and the other methods.

import { get } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { jobs } from "../../lib/jobs.js";
import { duration, megabytes } from "../../lib/words.js";

const CARDS = {
  lora: ["LoRA", "A small file that goes with a model. The usual choice: in Limner's test as good as the whole model, and easy to share and mix."],
  dreambooth: ["DreamBooth", "The whole model learns, with pictures of the class so that it forgets less. Slow, and a whole model to keep."],
  embedding: ["Embedding", "A new word of a few kilobytes. It only asks for what the model can draw already, so the likeness is weaker."],
};
const LIKENESS = "Likeness as Limner measured it with its small base on six subjects: 0 is as before the training, 1 as the real pictures.";
const NAMES = { dora: "DoRA", full: "whole model", ia3: "(IA)³", locon: "LoCon", loha: "LoHa", lokr: "LoKr", oft: "OFT", pivotal: "embedding and LoRA", slider: "slider" };

/** changed(): another method is chosen. request(): what a training of it asks for; dataset(): the number of the set. */
export function methods(changed, request, dataset) {
  let told = [];
  let chosen = "lora";
  const cards = element("div", { class: "methods", role: "radiogroup", "aria-label": "Method" });
  const others = element("select", { "aria-label": "Another method", onchange: () => choose(others.value || "lora") });
  const about = element("p", { class: "help" });
  const more = element("details", {}, element("summary", {}, "More methods"), element("div", { class: "row" }, others, about));
  const ask = element("button", { type: "button", onclick: () => tryOut() }, "How long will it take here?");
  const answer = element("p", { class: "soft", role: "status" });
  const place = element("section", { class: "card" }, element("h2", {}, "3. How it is learned"), cards, element("p", { class: "help" }, LIKENESS), more, element("p", { class: "bar" }, ask), answer);
  let stop = () => {};
  let loaded = 0;

  function choose(name) {
    chosen = name;
    show();
    changed();
  }

  function show() {
    const known = Object.fromEntries(told.map((method) => [method.name, method]));
    const focused = cards.contains(document.activeElement);
    replace(
      cards,
      Object.entries(CARDS).map(([name, [title, words]]) => {
        const input = element("input", { type: "radio", name: "method", value: name, checked: name === chosen, onchange: () => choose(name), "aria-describedby": `method-${name}` });
        return element(
          "label",
          { class: `method ${name === chosen ? "chosen" : ""}` },
          element("span", { class: "method-title" }, input, title),
          element("span", { class: "method-words", id: `method-${name}` }, element("span", {}, words), facts(known[name])),
        );
      }),
    );
    if (focused) cards.querySelector("input:checked")?.focus();
    const rest = told.filter((method) => !(method.name in CARDS));
    replace(others, element("option", { value: "" }, "one of the three above"), rest.map(({ name }) => element("option", { value: name }, NAMES[name] ?? name)));
    others.value = chosen in CARDS ? "" : chosen;
    about.textContent = chosen in CARDS ? "" : known[chosen]?.about ?? "";
  }

  function facts(method) {
    const size = method?.file_bytes ? megabytes(method.file_bytes) : "not known for this base";
    const time = !method?.seconds ? "not known yet" : `${duration(method.seconds)}${method.seconds_from === "run" ? ", as the last one" : ", tried out"}`;
    const likeness = method?.likeness == null ? "not measured" : `${method.likeness.toFixed(2)} on average, ${method.best.toFixed(2)} at best`;
    const rows = { File: size, "Time here": time, Likeness: likeness };
    return element("span", { class: "facts" }, Object.entries(rows).map(([name, value]) => [element("span", { class: "soft" }, name), element("span", {}, value)]));
  }

  async function load(base) {
    const turn = ++loaded;
    const number = dataset();
    const found = await get(`/api/methods?base=${encodeURIComponent(base)}${number ? `&dataset=${number}` : ""}`);
    if (turn !== loaded) return;
    told = found;
    show();
    changed();
  }

  async function tryOut() {
    ask.disabled = true;
    answer.textContent = "Trying a few steps …";
    try {
      const asked = request();
      const given = await jobs.give("dryrun", asked, `try ${chosen}`);
      stop();
      stop = jobs.watch(() => heard(jobs.get(given.id), asked.base));
    } catch (error) {
      answer.textContent = error.message;
      ask.disabled = false;
    }
  }

  async function heard(job, base) {
    if (!job) return;
    if (job.status === "queued") answer.textContent = "Waits for what is being trained …";
    if (job.status === "running") answer.textContent = `Trying: ${job.progress.what || "starting"} …`;
    if (!["done", "failed", "cancelled"].includes(job.status)) return;
    stop();
    stop = () => {};
    ask.disabled = false;
    if (job.status !== "done") {
      answer.textContent = job.error || "It was taken back.";
      return;
    }
    const { seconds, memory_bytes: memory, device_memory_bytes: device, file_bytes: file } = job.result;
    answer.textContent = `About ${duration(seconds)}, ${megabytes(memory)} of memory${device ? `, ${megabytes(device)} on the graphics card` : ""}, a file of ${megabytes(file)}.`;
    await load(base);
  }

  show();
  return {
    place,
    load,
    get chosen() { return chosen; },
    set chosen(name) { chosen = name; show(); },
    get sections() { return told.find((method) => method.name === chosen)?.sections ?? {}; },
    get needsImages() { return told.find((method) => method.name === chosen)?.needs_images ?? true; },
    close: () => stop(),
  };
}
