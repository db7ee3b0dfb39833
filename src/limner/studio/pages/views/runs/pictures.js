// What a run drew, step after step, on a slider.

import { element, replace } from "../../lib/dom.js";
import { frames } from "./run.js";

/** update(run) takes in new pictures; who has not moved the slider stays with the latest. look: a class of its own. */
export function pictures(name, look = "") {
  let all = [];
  let follows = true;
  const slider = element("input", { type: "range", min: 0, max: 0, step: 1, value: 0, "aria-label": `Step of the pictures of ${name}`, oninput: moved });
  const said = element("p", { class: "small soft" });
  const strip = element("div", { class: "strip" });
  const place = element("section", { class: `pictures ${look}`, hidden: true, "aria-label": `Pictures of ${name}` }, strip, slider, said);

  function moved() {
    follows = Number(slider.value) === all.length - 1;
    show();
  }

  function show() {
    const frame = all[Number(slider.value)];
    if (!frame) return;
    const step = frame.step === 0 ? "Before the first step" : `Step ${frame.step}`;
    slider.setAttribute("aria-valuetext", step);
    said.textContent = `${step} · ${Number(slider.value) + 1} of ${all.length}`;
    const key = frame.pictures.map((each) => each.address).join();
    if (strip.dataset.key === key) return;
    strip.dataset.key = key;
    replace(
      strip,
      frame.pictures.map((each) =>
        element("a", { href: each.address, target: "_blank", title: each.label }, element("img", { src: each.address, alt: `${step}. ${each.label}` })),
      ),
    );
  }

  function update(run) {
    all = frames(run);
    place.hidden = all.length === 0;
    slider.max = Math.max(all.length - 1, 0);
    slider.hidden = all.length < 2;
    if (follows) slider.value = slider.max;
    show();
  }
  return { place, update };
}
