import { element, replace } from "../lib/dom.js";

export const title = "Runs";

export function show(place) {
  replace(place, element("h1", {}, title));
}
