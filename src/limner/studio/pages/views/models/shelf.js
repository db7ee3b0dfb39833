// What is on this machine: words and filters over the index, and cards.

import { get, post } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { tell } from "../../lib/toast.js";
import { card } from "./card.js";
import { MANY, choice, counted, familyChoices, kindChoices } from "./names.js";

const PAGE = 60; // cards at a time
const MS_BETWEEN_LOOKS = 3000;
const MS_OF_TYPING = 200;
const ORDERS = { name: "By name", newest: "Newest first", largest: "Largest first" };

/** remember(values): keep what is asked in the address. more(values): open the search online. */
export function shelf(place, asked, remember, more) {
  const found = element("ul", { class: "cards models" });
  const told = element("p", { class: "soft small", role: "status" });
  const next = element("button", { type: "button", hidden: true, onclick: () => load(true) }, "Show more");
  const leftOut = element("div");
  const words = element("input", { type: "search", id: "models-q", name: "q", value: asked.q ?? "", placeholder: "Name, keyword, tag or hash", autocomplete: "off" });
  const change = () => load();
  const type = choice("Type", "type", kindChoices, asked.type ?? "", change);
  const base = choice("Base", "base", { ...familyChoices, sd3: "SD 3" }, asked.base ?? "", change);
  const order = choice("Order", "order", ORDERS, asked.order ?? "", change);
  const look = element("button", { type: "button", onclick: scan }, "Look for new files");
  let rows = [];
  let turn = 0;
  let version = null;
  let typing = 0;
  let summed = "";
  let state = null;

  words.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(load, MS_OF_TYPING);
  });
  const form = element(
    "form",
    { role: "search", class: "filters", onsubmit: (event) => (event.preventDefault(), load()) },
    element("div", { class: "filter words" }, element("label", { for: "models-q" }, "Search this machine"), words),
    type.place,
    base.place,
    order.place,
    look,
  );

  const shown = (model) => card(model, () => load());
  const values = () => ({ q: words.value.trim(), type: type.control.value, base: base.control.value, order: order.control.value === "name" ? "" : order.control.value });

  async function load(isMore = false) {
    const mine = ++turn;
    remember(values());
    const asks = Object.entries(values()).filter(([, value]) => value);
    const limit = isMore ? PAGE : Math.max(PAGE, rows.length);
    const query = new URLSearchParams([...asks, ["limit", limit], ["offset", isMore ? rows.length : 0]]);
    const answer = await get(`/api/models?${query}`);
    if (mine !== turn) return;
    version = answer.version;
    const before = JSON.stringify(rows);
    const added = answer.models;
    rows = isMore ? [...rows, ...added] : added;
    if (isMore) found.append(...added.map(shown));
    else if (JSON.stringify(rows) !== before) replace(found, rows.map(shown));
    next.hidden = rows.length >= answer.total;
    summary(answer);
  }

  function summary(answer) {
    const kinds = Object.entries(MANY).filter(([kind]) => answer.counts[kind]);
    const unread = answer.total - kinds.reduce((sum, [kind]) => sum + answer.counts[kind], 0);
    const parts = kinds.map(([kind]) => counted(answer.counts[kind], kind));
    if (unread) parts.push(`${unread} that ${unread === 1 ? "is" : "are"} none of these`);
    summed = parts.join(", ");
    say();
    const onlyPocket = rows.every((row) => row.built_in);
    const isFiltered = Object.values(values()).some(Boolean);
    replace(empty, onlyPocket ? (isFiltered ? nothing() : welcome()) : null);
  }

  function say() {
    const reading = state?.busy && state.total ? `Reading ${state.done + 1} of ${state.total} new files. ` : "";
    const text = `${state?.problem ? `${state.problem}. ` : ""}${reading}${summed}`;
    if (told.textContent !== text) replace(told, text);
    told.classList.toggle("problem", Boolean(state?.problem));
  }

  const empty = element("div");
  const nothing = () => element("p", {}, "Nothing here has all of that. Say fewer words, or ", element("button", { type: "button", onclick: () => more(values()) }, "search online"));
  const welcome = () =>
    element(
      "div",
      { class: "card hint" },
      element("h2", {}, "No models of your own yet"),
      element("p", {}, "The built-in pocket base is here for trying things out. For real pictures you need a checkpoint."),
      state?.folder ? element("p", {}, "Put .safetensors files into these folders; they show up here by themselves:") : element("p", {}, "Put .safetensors files into the models folder of the machine that runs Limner."),
      state?.folder ? element("dl", { class: "facts" }, Object.entries(state.folders).map(([kind, name]) => [element("dt", {}, MANY[kind]), element("dd", { class: "mono" }, `${state.folder}/${name}`)])) : null,
      element("button", { type: "button", class: "main", onclick: () => more({ type: "checkpoint" }) }, "Find one online"),
    );

  async function refresh() {
    if (document.visibilityState === "hidden") return;
    state = await get("/api/models/scan").catch(() => state);
    say();
    passedOver();
    if (state.version !== version) await load();
  }

  let listed = "";
  function passedOver() {
    if (JSON.stringify(state.left_out) === listed) return; // an open list stays open
    listed = JSON.stringify(state.left_out);
    const count = state.left_out.length;
    const text = `${count} ${count === 1 ? "thing in the folder is" : "things in the folder are"} not listed`;
    const lines = state.left_out.map((each) => element("li", {}, `${each.name} ${each.reason}`));
    replace(leftOut, count ? element("details", {}, element("summary", {}, text), element("ul", { class: "small" }, lines)) : null);
  }

  async function scan() {
    state = await post("/api/models/scan");
    tell("looking through the folder");
    await refresh();
  }

  replace(place, form, told, empty, found, element("p", { class: "bar" }, next), leftOut);
  const clock = setInterval(refresh, MS_BETWEEN_LOOKS);
  refresh();
  return () => {
    turn++;
    clearTimeout(typing);
    clearInterval(clock);
  };
}
