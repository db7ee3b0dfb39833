// Elements from plain values. Text is only ever set as text, so that nothing a stranger wrote becomes markup: the
// project's tests refuse innerHTML and its kin everywhere.

/** element("a", { href: "/runs", class: "plain", onclick: f }, "text", child, [more]): null and false are left out. */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  set(made, attributes);
  made.append(...plain(children));
  return made;
}

/** The same in SVG. */
export function drawing(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  set(made, attributes);
  made.append(...plain(children));
  return made;
}

/** Give an element other children. */
export function replace(place, ...children) {
  place.replaceChildren(...plain(children));
}

function set(made, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") made[name] = value;
    else made.setAttribute(name, value === true ? "" : value);
  }
}

function plain(children) {
  return children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false);
}
