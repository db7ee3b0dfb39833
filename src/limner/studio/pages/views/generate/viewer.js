// A picture large, in a dialog: what it is made of, and what can be done with it.

import { copyButton } from "../../lib/copy.js";
import { element, replace } from "../../lib/dom.js";
import { tell } from "../../lib/toast.js";
import { when } from "../../lib/words.js";

const TITLES = {
  steps: "Steps", sampler: "Sampler", schedule: "Schedule", cfg_scale: "CFG scale", seed: "Seed", clip_skip: "Clip skip", base: "Base",
};

/** viewer(gallery, { use(picture), start(picture) }): { place, open(picture), leave }. */
export function viewer(gallery, { use, start }) {
  const image = element("img", { alt: "" });
  const facts = element("div", { class: "facts" });
  const back = element("button", { type: "button", "aria-label": "Newer picture", onclick: () => go(-1) }, "‹");
  const on = element("button", { type: "button", "aria-label": "Older picture", onclick: () => go(1) }, "›");
  const place = element(
    "dialog",
    { class: "viewer", "aria-label": "Picture", onkeydown: pressed, onclose: closed, onclick: (event) => event.target === place && place.close() },
    element("div", { class: "seen" }, back, element("div", { class: "frame" }, image), on),
    element("div", { class: "told" }, facts),
    element("button", { type: "button", class: "close", "aria-label": "Close", onclick: () => place.close() }, "×"),
  );
  let now = null;

  function open(picture) {
    now = picture;
    image.src = `/api/pictures/${picture.id}/file`;
    image.alt = picture.request.prompt || "no prompt";
    [image.width, image.height] = [picture.width, picture.height];
    image.className = picture.width < 384 && picture.kind === "picture" ? "tiny" : "";
    back.disabled = !gallery.beside(picture, -1);
    on.disabled = !gallery.beside(picture, 1);
    replace(facts, about(picture), actions(picture));
    if (!place.open) place.showModal();
  }

  function go(steps) {
    const next = gallery.beside(now, steps);
    if (next) open(next);
  }

  function pressed(event) {
    const steps = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!steps || event.target.closest("details, input, textarea")) return;
    event.preventDefault();
    go(steps);
  }

  function closed() {
    if (now) gallery.focus(now.id);
    now = null;
  }

  function actions(picture) {
    const act = (label, done) => element("button", { type: "button", onclick: done }, label);
    const settle = (done) => () => {
      place.close();
      done(picture);
    };
    return element(
      "div",
      { class: "bar" },
      element("button", { type: "button", class: "main", onclick: settle(use) }, "Use these settings"),
      picture.kind === "picture" ? act("Use as start image", settle(start)) : null,
      element("a", { class: "button", href: `/api/pictures/${picture.id}/file?download=true`, download: picture.file }, "Download"),
      copyButton(picture.request.prompt, { label: "Copy prompt", class: null }),
      removal(picture),
    );
  }

  /** Asked twice, in place. */
  function removal(picture) {
    let isSure = false;
    const button = element("button", { type: "button", onclick: press }, "Remove");
    async function press() {
      if (!isSure) {
        isSure = true;
        button.textContent = "Remove it for good";
        button.classList.add("problem");
        return;
      }
      const next = gallery.beside(picture, 1) ?? gallery.beside(picture, -1);
      await gallery.remove(picture);
      tell("The picture is removed.");
      if (next) open(next);
      else place.close();
    }
    return button;
  }

  return { place, open, leave: () => place.close() };
}

function value(picture, name) {
  if (name === "seed") return picture.seed;
  if (name === "base") return picture.request.base.split("/").at(-1).replace(/\.[a-z]+$/, "");
  return picture.request[name];
}

/** Its settings in words; what is said once by all of them is left out. */
function about(picture) {
  const { request } = picture;
  const rows = Object.entries(TITLES).map(([name, title]) => [title, value(picture, name)]);
  rows.push(["Size", `${picture.width} x ${picture.height}`], ["Drawn", when(picture.time)]);
  if (request.init) rows.push(["Start image", `strength ${request.init.strength}${request.init.mask ? ", with a mask" : ""}`]);
  for (const [letter, axis] of Object.entries({ Columns: request.x, Rows: request.y, Tables: request.z })) {
    if (axis) rows.push([letter, `${axis.name}: ${axis.values.join(", ")}`]);
  }
  return [
    element("p", { class: "said" }, request.prompt || element("span", { class: "soft" }, "no prompt")),
    request.negative_prompt ? element("p", { class: "said small" }, element("strong", {}, "Not: "), request.negative_prompt) : null,
    element("dl", {}, rows.map(([title, value]) => element("div", {}, element("dt", {}, title), element("dd", {}, String(value))))),
    picture.missing.length ? element("p", { class: "warning" }, "What it was drawn from is not there any more.") : null,
    element("details", {}, element("summary", {}, "As the file says it"), element("pre", { class: "mono", tabindex: 0 }, picture.infotext)),
  ];
}
