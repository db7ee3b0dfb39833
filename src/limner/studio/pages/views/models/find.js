// Search at Civitai and on the hub: nothing is sent before the person presses the button.

import { get } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { jobs } from "../../lib/jobs.js";
import { keyPart } from "./key.js";
import { choice, familyChoices, kindChoices } from "./names.js";
import { offer } from "./offer.js";
import { OPEN, transfer } from "./transfer.js";

const SORTS = { downloads: "Most downloaded", likes: "Most liked", newest: "Newest" };
const SITES = { civitai: "Civitai", hub: "Hugging Face hub" };
const ADDRESS = /^(https?:\/\/|civitai:|hub:|urn:air:)\S+$/; // of one model, or its id

export function find(place, asked, remember) {
  const words = element("input", { type: "search", id: "find-q", name: "q", value: asked.q ?? "", placeholder: "Words, a file's hash, or the address of a model's page", autocomplete: "off", maxlength: 500 });
  const type = choice("Type", "find-type", kindChoices, asked.type ?? "");
  const base = choice("Base", "find-base", familyChoices, asked.base ?? "");
  const sort = choice("First", "sort", SORTS, asked.sort ?? "");
  const nsfw = check("find-nsfw", "Also what is not for everyone", false);
  const sites = Object.entries(SITES).map(([name, label]) => [name, check(`find-${name}`, label, true)]);
  const search = element("button", { class: "main" }, "Search online");
  const results = element("div", { class: "found" });
  const fetching = element("section", { "aria-label": "Downloads" });
  let turn = 0;
  let leaving = [];
  let offered = []; // ids of the rows

  const form = element(
    "form",
    { role: "search", onsubmit: (event) => (event.preventDefault(), ask()) },
    element("div", { class: "filters" }, element("div", { class: "filter words" }, element("label", { for: "find-q" }, "Find"), words), type.place, base.place, sort.place, search),
    element("div", { class: "bar checks" }, sites.map(([, each]) => each.place), nsfw.place),
    element(
      "p",
      { class: "help" },
      "Searching sends these words and filters to the sites that are ticked, and to Civitai your key if there is one. Downloading sends the model's id. ",
      "Nothing else leaves this machine, and nothing does before you press a button.",
    ),
  );

  async function ask() {
    const mine = ++turn;
    clear();
    const query = words.value.trim();
    const chosen = sites.filter(([, each]) => each.control.checked).map(([name]) => name);
    remember({ q: query, type: type.control.value, base: base.control.value });
    if (ADDRESS.test(query)) return replace(results, one(query));
    if (!chosen.length) return replace(results, element("p", { class: "problem", role: "alert" }, "Tick Civitai, the hub, or both."));
    const asks = { q: query, type: type.control.value, base: base.control.value, sort: sort.control.value, nsfw: nsfw.control.checked || "" };
    const filled = Object.entries(asks).filter(([, value]) => value);
    search.disabled = true;
    const parts = chosen.map((name) => part(name));
    replace(results, parts.map((each) => each.place));
    await Promise.all(
      parts.map(async ({ name, show }) => {
        const answer = await get(`/api/search?${new URLSearchParams([...filled, ["source", name]])}`).catch((error) => ({ found: [], failed: { [name]: error.message } }));
        if (mine === turn) show(answer);
      }),
    );
    if (mine === turn) search.disabled = false;
  }

  /** A site's own part of the results: each comes when it answers. */
  function part(name) {
    const told = element("p", { class: "soft small", role: "status" }, "asking...");
    const rows = element("ul", { class: "offers" });
    const show = ({ found, failed }) => {
      const problem = failed[name];
      told.className = problem ? "problem" : "soft small";
      replace(told, problem ?? (found.length ? `${found.length} found` : "Nothing found. Say fewer words, or other filters."));
      replace(rows, found.map(row));
    };
    return { name, show, place: element("section", {}, element("h2", {}, SITES[name]), told, rows) };
  }

  /** A model by its id or the address of its page: there is nothing to search for. */
  function one(id) {
    const plain = { source: "", id, title: id, version: "", kind: "", base: "", keywords: [], scans: {}, agree: {}, files: [], refused: "", page: "", here: null };
    return element("ul", { class: "offers" }, row(plain));
  }

  function row(found) {
    offered.push(found.id);
    underWay();
    return offer(found, (leave) => leaving.push(leave));
  }

  function clear() {
    for (const leave of leaving) leave();
    leaving = [];
    offered = [];
    replace(results);
    underWay();
  }

  /** Downloads that no row of the results shows. */
  const shown = new Map();
  const list = element("div", { class: "cards" });
  function underWay() {
    const ids = new Set(offered);
    const open = jobs.list().filter((job) => job.kind === "download" && OPEN.includes(job.status) && !ids.has(job.request.id));
    for (const [id, each] of shown) {
      if (open.some((job) => job.id === id)) continue;
      each.place.remove();
      shown.delete(id);
    }
    for (const job of open) {
      if (!shown.has(job.id)) {
        const { place: bar, show } = transfer();
        shown.set(job.id, { place: element("div", { class: "card" }, element("h3", {}, job.title), bar), show });
        list.append(shown.get(job.id).place);
      }
      shown.get(job.id).show(job);
    }
    fetching.hidden = shown.size === 0;
  }
  replace(fetching, element("h2", {}, "Under way"), list);
  fetching.hidden = true;
  const unwatch = jobs.watch(underWay);

  replace(place, form, keyPart(), fetching, results);
  return () => {
    turn++;
    clear();
    unwatch();
  };
}

function check(id, label, checked) {
  const control = element("input", { type: "checkbox", id, checked });
  return { control, place: element("span", { class: "check" }, control, element("label", { for: id }, label)) };
}
