// From pictures to a training: drop them, look them through, say what they show, choose how it is learned, start.

import { go } from "../app.js";
import { get, patch, post, remove } from "../lib/api.js";
import { element, replace } from "../lib/dom.js";
import { jobs } from "../lib/jobs.js";
import { tell } from "../lib/toast.js";
import { captions } from "./train/captions.js";
import { dropArea } from "./train/drop.js";
import { editor } from "./train/editor.js";
import { grid } from "./train/grid.js";
import { methods } from "./train/methods.js";
import { more } from "./train/more.js";
import { PictureSet } from "./train/set.js";
import { status } from "./train/status.js";
import { subject } from "./train/subject.js";

export const title = "Train";

const COMPARED = "lora,dreambooth,embedding";

export async function show(place, query) {
  const sets = await get("/api/datasets");
  const asked = Number(query.get("set")) || (query.has("new") ? 0 : sets[0]?.id);
  let set = sets.some((each) => each.id === asked) ? new PictureSet(asked) : null;

  const about = subject(() => wish());
  const how = methods(() => chosen(), () => request(), () => set?.id);
  const extra = more();
  const pictures = element("div");
  const choose = element(
    "select",
    { "aria-label": "Set of pictures", onchange: () => go(choose.value ? `/train?set=${choose.value}` : "/train?new") },
    element("option", { value: "" }, "a new set"),
    sets.map((each) => element("option", { value: each.id }, `${each.name} (${each.pictures})`)),
  );
  const manage = element("span", { class: "bar" });
  const start = element("button", { type: "button", class: "main", onclick: () => begin() }, "Start the training");
  const compare = element("button", { type: "button", title: "LoRA, DreamBooth and embedding, one after another, with a report that says which to take", onclick: () => begin("compare") }, "Compare the three methods");
  const why = element("p", { class: "soft", role: "status" });

  const page = element("div", { class: "train" });
  replace(
    page,
    element("h1", {}, title),
    element("div", { class: "bar sets", hidden: !sets.length }, choose, manage),
    element("section", { class: "card" }, element("h2", {}, "1. Pictures"), dropArea(taken), pictures),
    about.place,
    how.place,
    extra.place,
    element("div", { class: "start card" }, why, compare, start),
  );

  /** The set that dropped files go into. */
  async function taken() {
    if (set) return set;
    const { keyword } = about.values();
    const made = await post("/api/datasets", { name: keyword || new Date().toLocaleDateString(), method: how.chosen, ...about.values() });
    set = new PictureSet(made.id);
    history.replaceState(null, "", `/train?set=${made.id}`);
    choose.append(element("option", { value: made.id }, made.name));
    choose.parentElement.hidden = false;
    await opened();
    return set;
  }

  async function opened() {
    choose.value = set.id;
    const edit = editor(set);
    replace(pictures, status(set), captions(set), grid(set, (number) => edit.open(number)), edit.place);
    replace(
      manage,
      element("button", { type: "button", class: "small", onclick: () => rename() }, "Rename"),
      element("button", { type: "button", class: "small", onclick: () => forget() }, "Remove"),
    );
    set.watch(ready);
    await set.open();
  }

  async function wish() {
    ready();
    const wishes = { ...about.values(), method: how.chosen };
    if (wishes.base !== how.base) {
      how.base = wishes.base;
      how.load(wishes.base);
    }
    await set?.wish(wishes);
  }

  function chosen() {
    extra.showOwn(how.sections);
    wish();
  }

  function ready() {
    const problem = missing();
    why.textContent = problem || `${set ? set.kept.length : 0} pictures are prepared and trained on.`;
    start.disabled = Boolean(problem);
    compare.disabled = Boolean(problem) || !set;
  }

  function missing() {
    if (how.needsImages) {
      if (!set?.pictures.length) return "First drop some pictures.";
      if (!set.job && !set.kept.length && set.checked) return "No picture is kept: add better ones, or keep some all the same.";
    }
    if (!about.values().keyword) return "Say a keyword.";
    return "";
  }

  function request() {
    return { dataset: how.needsImages ? set?.id ?? null : null, method: how.chosen, ...about.values(), ...extra.read() };
  }

  /** kind: "train", or "compare" for all three methods. */
  async function begin(kind = "train") {
    try {
      await set?.wish({ ...about.values(), method: how.chosen });
      const asked = request();
      const job =
        kind === "train"
          ? await jobs.give("train", asked, `${asked.keyword} (${asked.method})`)
          : await jobs.give("compare", forAll(asked), `${asked.keyword}: three methods compared`);
      go(`/runs?job=${job.id}`);
    } catch (error) {
      tell(error.message, "problem");
    }
  }

  async function rename() {
    const name = prompt("What is this set to be called?", set.name)?.trim();
    if (!name) return;
    await patch(`/api/datasets/${set.id}`, { name });
    go(`/train?set=${set.id}`);
  }

  async function forget() {
    if (!confirm(`Remove ${set.name} with its ${set.pictures.length} pictures? What was trained on it stays.`)) return;
    await remove(`/api/datasets/${set.id}`);
    go("/train");
  }

  if (set) await opened();
  about.show(set?.wishes ?? {});
  replace(place, page);
  how.chosen = set?.wishes.method || "lora";
  how.base = about.values().base;
  await Promise.all([how.load(how.base), extra.load()]);
  ready();
  return () => {
    set?.close();
    about.close();
    how.close();
  };
}

/** Of a training's request, what holds for every method. */
function forAll({ method, name, more: settings, ...asked }) {
  const shared = Object.entries(settings).filter(([, value]) => typeof value !== "object" || Array.isArray(value));
  return { ...asked, more: Object.fromEntries(shared), methods: COMPARED };
}
