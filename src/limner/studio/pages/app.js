// The page: one shell, a view for each address, and one stream of news about jobs that all views share.

import { element, replace } from "./lib/dom.js";
import { jobs } from "./lib/jobs.js";
import { tell } from "./lib/toast.js";

const VIEWS = {
  "/train": () => import("./views/train.js"),
  "/runs": () => import("./views/runs.js"),
  "/generate": () => import("./views/generate.js"),
  "/models": () => import("./views/models.js"),
};

const place = document.getElementById("view");
let leave = () => {};
let shown = 0;

/** Show the view of the page's address. A view's `show(place, query)` may return what to do when it is left. */
async function show() {
  const turn = ++shown;
  const path = location.pathname === "/" ? "/train" : location.pathname;
  leave();
  leave = () => {};
  for (const link of document.querySelectorAll("nav a")) {
    if (link.pathname === path) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  try {
    const view = await VIEWS[path]();
    if (turn !== shown) return;
    document.title = `${view.title} · Limner`;
    document.body.dataset.view = path; // by which a view's own rules tell that they are meant
    replace(place);
    const left = await view.show(place, new URLSearchParams(location.search));
    if (turn === shown) leave = left ?? (() => {});
    else left?.();
  } catch (error) {
    replace(place, element("p", { class: "problem" }, error.message));
  }
}

/** Go to another address of the page without loading it anew. */
export function go(address) {
  history.pushState(null, "", address);
  show();
}

document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href]");
  const plain = event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || link.target || link.hasAttribute("download")) return;
  if (link.origin !== location.origin || !(link.pathname in VIEWS)) return;
  event.preventDefault();
  go(link.href);
  place.focus();
});
addEventListener("popstate", show);
addEventListener("unhandledrejection", (event) => tell(event.reason?.message ?? String(event.reason), "problem"));

const badge = document.getElementById("open-jobs");
jobs.watch((all) => {
  const open = all.filter((job) => job.status === "running" || job.status === "queued").length;
  badge.hidden = open === 0;
  badge.textContent = open;
  badge.setAttribute("aria-label", `${open} running or waiting`);
});

show();
