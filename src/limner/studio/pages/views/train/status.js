// How far the look at the pictures is, and what is to be said of the set.

import { element, replace } from "../../lib/dom.js";
import { capital } from "../../lib/words.js";

export function status(set) {
  const words = element("p", { class: "soft", role: "status" });
  const bar = element("progress", { "aria-label": "Looking at the pictures" });
  const remarks = element("ul", { class: "remarks" });
  const place = element("div", { class: "status" }, words, bar, remarks);
  let told = "";

  set.watch(() => {
    const { job, pictures } = set;
    bar.hidden = !job;
    if (job) {
      const { what, done, total } = job.progress;
      if (total) Object.assign(bar, { max: total, value: done });
      else bar.removeAttribute("value");
      say(job.status === "queued" ? "The pictures are looked at soon …" : `${capital(what || "looking at pictures")}${total ? `: ${done} of ${total}` : ""} …`);
    } else if (set.problem || set.problemOfCheck) say(set.problem || set.problemOfCheck);
    else if (pictures.length && set.checked) {
      const out = pictures.length - set.kept.length;
      say(`${pictures.length} pictures: ${set.kept.length} to train on${out ? `, ${out} left out` : ""}. Nothing is changed in your files.`);
    } else say("");
    const said = [...(set.skipped ?? []).slice(0, 5).map(({ name, why }) => ({ level: "note", sentence: `${name} ${why}` })), ...set.remarks];
    const key = JSON.stringify(said);
    if (key === told) return;
    told = key;
    replace(remarks, said.map(({ level, sentence }) => element("li", { class: level }, sentence)));
  });

  function say(text) {
    if (words.textContent !== text) words.textContent = text;
  }
  return place;
}
