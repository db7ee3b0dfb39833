import { element, replace } from "../lib/dom.js";

export const title = "Models";

export function show(place) {
  replace(place, element("h1", {}, title));
}
