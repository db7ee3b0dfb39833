// What was drawn, the newest first, by day.

import { get, remove } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";

const FIRST = 48; // pictures that are listed at once

/** galleryPart(open): open(picture) is called for one that is chosen. The viewer asks it for neighbours. */
export function galleryPart(open) {
  let pictures = [];
  let more = false;
  let asking = null;
  let isStale = false;
  const days = element("div", { class: "days" });
  const older = element("button", { type: "button", hidden: true, onclick: loadOlder }, "Older pictures");
  const place = element("div", {}, days, older);

  /** Those that came since, and what comes while they are asked for. */
  function refresh() {
    isStale = true;
    asking ??= loadAll().finally(() => {
      asking = null;
    });
    return asking;
  }

  async function loadAll() {
    while (isStale) {
      isStale = false;
      await load();
    }
  }

  async function load() {
    const newest = pictures[0]?.id ?? 0;
    const found = await get(`/api/pictures?after=${newest}&limit=${FIRST}`);
    if (newest && found.more) pictures = []; // more came than are listed at once
    if (!pictures.length) more = found.more;
    pictures = [...found.pictures, ...pictures];
    if (found.pictures.length || !newest) show();
  }

  async function loadOlder() {
    const found = await get(`/api/pictures?before=${pictures.at(-1).id}&limit=${FIRST}`);
    const at = pictures.length;
    pictures.push(...found.pictures);
    more = found.more;
    show();
    if (pictures[at]) focus(pictures[at].id);
  }

  function show() {
    const byDay = Map.groupBy ? Map.groupBy(pictures, (each) => each.day) : grouped(pictures);
    const focused = document.activeElement?.closest?.("[data-picture]")?.dataset.picture;
    replace(
      days,
      pictures.length ? [] : element("p", { class: "soft" }, "What is drawn is shown here, and kept."),
      [...byDay].map(([day, those]) => [
        element("h2", {}, dayName(day)),
        element("ul", { class: "plain thumbnails" }, those.map(thumbnail)),
      ]),
    );
    older.hidden = !more;
    if (focused) focus(Number(focused));
  }

  function thumbnail(picture) {
    const said = picture.request.prompt || "no prompt";
    const image = element("img", {
      src: `/api/pictures/${picture.id}/thumbnail`,
      alt: `${picture.kind === "grid" ? "Grid: " : ""}${said}, seed ${picture.seed}`,
      width: picture.width,
      height: picture.height,
      loading: "lazy",
      decoding: "async",
    });
    return element(
      "li",
      { class: picture.kind },
      element("button", { type: "button", "data-picture": picture.id, onclick: () => open(picture) }, image),
    );
  }

  function focus(id) {
    days.querySelector(`[data-picture="${id}"]`)?.focus();
  }

  return {
    place,
    refresh,
    focus,
    newest: () => pictures.find((each) => each.kind === "picture"),
    /** The picture that many further on in the list, older for positive; undefined at its ends. */
    beside: (picture, steps) => pictures[pictures.findIndex((each) => each.id === picture.id) + steps],
    async remove(picture) {
      await remove(`/api/pictures/${picture.id}`);
      pictures = pictures.filter((each) => each.id !== picture.id);
      show();
    },
  };
}

function grouped(pictures) {
  const days = new Map();
  for (const each of pictures) days.set(each.day, [...(days.get(each.day) ?? []), each]);
  return days;
}

function dayName(day) {
  const [year, month, date] = day.split("-").map(Number);
  const then = new Date(year, month - 1, date);
  return then.toDateString() === new Date().toDateString() ? "Today" : then.toLocaleDateString([], { dateStyle: "full" });
}
