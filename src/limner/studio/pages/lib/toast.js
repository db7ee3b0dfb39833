// Short messages that pass, read out by screen readers.

import { element } from "./dom.js";

const SECONDS = 8;

/** kind: "" or "problem". */
export function tell(message, kind = "") {
  const note = element("p", { class: `toast ${kind}` }, message);
  shelf().append(note);
  setTimeout(() => note.remove(), SECONDS * 1000);
}

/** Where they show: in a dialog that is open, for all behind it is out of reach. */
function shelf() {
  const open = document.querySelector("dialog:modal");
  if (open === null) return document.getElementById("toasts");
  let place = open.querySelector(".toasts");
  if (place === null) {
    place = element("div", { class: "toasts", role: "status", "aria-live": "polite" });
    open.append(place);
  }
  return place;
}
