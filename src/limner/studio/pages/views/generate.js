// Generate: a prompt and its knobs, what is being drawn, and the gallery of what was.

import { get } from "../lib/api.js";
import { element, replace } from "../lib/dom.js";
import { jobs } from "../lib/jobs.js";
import { tell } from "../lib/toast.js";
import { dropPart } from "./generate/drop.js";
import { pictureForm } from "./generate/form.js";
import { galleryPart } from "./generate/gallery.js";
import { gridPart } from "./generate/grid.js";
import { queuePart } from "./generate/queue.js";
import { startPart } from "./generate/start.js";
import { viewer } from "./generate/viewer.js";

export const title = "Generate";

const KEPT = "limner-generate"; // in localStorage: the form as it was left
const FROM_PICTURE = /, Denoising strength: (?![^\n]*, Hires (?:upscale|resize): )[^\n]*$/;
const TITLE = 80; // characters of a prompt that name its job

export async function show(place, query) {
  replace(place, element("h1", {}, title), element("p", { class: "soft", role: "status" }, "Looking at the models there are"));
  const asked = ["/api/models?type=checkpoint&limit=1000", "/api/samplers", "/api/settings/init"];
  const [{ models }, samplers, ofStart] = await Promise.all(asked.map(get));
  const bases = models.filter((model) => !model.problem);

  const gallery = galleryPart((picture) => big.open(picture));
  const form = pictureForm(bases, samplers, () => draw("generate"), () => gallery.newest()?.seed);
  const grid = gridPart(bases, samplers, () => form.values().prompt, () => draw("grid"));
  const big = viewer(gallery, {
    use(picture) {
      take(picture.request, picture.infotext);
      if (picture.request.init) start.restore(picture.request.init, picture.missing);
      else if (FROM_PICTURE.test(picture.infotext)) start.lost();
      form.focus();
      tell("The form has this picture's settings.");
    },
    start: (picture) => start.use(picture),
  });
  const queue = queuePart(gallery.refresh);
  const drop = dropPart(take);
  const start = startPart(ofStart.flatMap((section) => section.fields), form.resize);

  function take(settings, infotext) {
    if (!FROM_PICTURE.test(infotext)) start.clear();
    form.fill({ hires: null, ...settings });
    grid.fill(settings);
    keep();
  }

  function keep() {
    try {
      localStorage.setItem(KEPT, JSON.stringify({ ...form.values(), ...grid.values() }));
    } catch {
      // a browser that keeps nothing
    }
  }

  async function draw(kind) {
    const request = { ...form.values(), ...(kind === "grid" ? grid.read() : {}) };
    if (kind === "grid") Object.assign(request, { count: 1, batch_size: 1 });
    keep();
    const prompt = request.prompt.trim() || "no prompt";
    const name = prompt.length > TITLE ? `${prompt.slice(0, TITLE - 1)}…` : prompt;
    try {
      if (kind !== "grid") request.init = await start.value();
      await jobs.give(kind, request, kind === "grid" ? `Grid: ${name}` : name);
    } catch (error) {
      tell(error.message, "problem");
    }
  }

  form.fill(left(query));
  grid.fill(left(query));
  form.place.append(start.place, grid.place);
  form.place.addEventListener("input", keep);
  form.place.addEventListener("change", keep);
  replace(
    place,
    element("h1", {}, title),
    element(
      "div",
      { class: "generate" },
      element("div", { class: "ask" }, drop.place, form.place),
      element("section", { class: "came", "aria-label": "Pictures" }, queue.place, gallery.place),
    ),
    big.place,
    start.dialog,
  );
  await gallery.refresh();
  return () => [queue, drop, big].forEach((part) => part.leave());
}

/** What the form was left with, and over it what the page's address says. */
function left(query) {
  let kept = {};
  try {
    kept = JSON.parse(localStorage.getItem(KEPT)) ?? {};
  } catch {
    // nothing, or what another version kept
  }
  return { ...kept, ...Object.fromEntries(query) };
}
