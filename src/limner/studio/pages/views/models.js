// The models that there are, and more of them.

import { element, replace } from "../lib/dom.js";
import { find } from "./models/find.js";
import { shelf } from "./models/shelf.js";

export const title = "Models";

const TABS = [
  { name: "here", label: "On this machine", make: shelf },
  { name: "find", label: "Find more", make: find },
];

/** query: tab ("here" or "find"), q, type, base. */
export function show(place, query) {
  let leave = () => {};
  const panel = element("div", { role: "tabpanel", id: "models-panel", tabindex: -1 });
  const tabs = TABS.map((tab) =>
    element("button", { type: "button", role: "tab", id: `models-tab-${tab.name}`, "aria-controls": "models-panel", onclick: () => open(tab) }, tab.label),
  );
  const list = element("div", { role: "tablist", "aria-label": "Where", class: "tabs", onkeydown: move }, tabs);

  function open(tab, asked = {}) {
    leave();
    for (const [at, each] of tabs.entries()) {
      const isOpen = TABS[at] === tab;
      each.setAttribute("aria-selected", String(isOpen));
      each.tabIndex = isOpen ? 0 : -1;
    }
    panel.setAttribute("aria-labelledby", `models-tab-${tab.name}`);
    replace(panel);
    leave = tab.make(panel, asked, (values) => remember(tab.name, values), (values) => open(TABS[1], values));
  }

  function move(event) {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = (tabs.indexOf(document.activeElement) + step + tabs.length) % tabs.length;
    open(TABS[next]);
    tabs[next].focus();
  }

  replace(place, element("div", { class: "models-view" }, element("h1", {}, title), list, panel));
  open(TABS.find((tab) => tab.name === query.get("tab")) ?? TABS[0], Object.fromEntries(query));
  return () => leave();
}

/** Keep what is asked in the address, so that it can be reloaded and shared between windows. */
function remember(tab, values) {
  const kept = Object.entries({ tab: tab === "here" ? "" : tab, ...values }).filter(([, value]) => value);
  const query = new URLSearchParams(kept).toString();
  history.replaceState(null, "", query ? `/models?${query}` : "/models");
}
