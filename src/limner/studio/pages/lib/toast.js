// Short messages that pass, read out by screen readers.

import { element } from "./dom.js";

const SECONDS = 8;

/** kind: "" or "problem". */
export function tell(message, kind = "") {
  const note = element("p", { class: `toast ${kind}` }, message);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), SECONDS * 1000);
}
