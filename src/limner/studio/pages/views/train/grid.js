// The pictures of a set: what was found, what is left out and why, and what is kept of each.

import { element, replace } from "../../lib/dom.js";
import { capital } from "../../lib/words.js";

const MOST_SAID = 2; // findings under a picture; the editor shows all
const FILTERS = {
  all: ["All", () => true],
  kept: ["Kept", (picture) => picture.kept],
  out: ["Left out", (picture) => picture.kept === false],
};

/** open(number): edit a picture. */
export function grid(set, open) {
  const tiles = element("ul", { class: "tiles", "aria-label": "Pictures" });
  const filters = element("div", { class: "bar filters", role: "group", "aria-label": "Which pictures are shown" });
  const place = element("div", {}, filters, tiles);
  const made = new Map();
  let filter = "all";

  function update() {
    replace(
      filters,
      Object.entries(FILTERS).map(([name, [words, takes]]) =>
        element(
          "button",
          { type: "button", class: "chip", "aria-pressed": String(name === filter), onclick: () => { filter = name; update(); } },
          `${words} ${set.pictures.filter(takes).length}`,
        ),
      ),
    );
    const shown = set.pictures.filter(FILTERS[filter][1]);
    for (const [number, tile] of made) if (!shown.some((each) => each.number === number)) { tile.place.remove(); made.delete(number); }
    shown.forEach((picture, at) => {
      let tile = made.get(picture.number);
      if (!tile) made.set(picture.number, (tile = pictureTile(set, open)));
      tile.update(picture);
      if (tiles.children[at] !== tile.place) tiles.insertBefore(tile.place, tiles.children[at] ?? null);
    });
    filters.hidden = !set.pictures.length;
  }
  set.watch(update);
  return place;
}

function pictureTile(set, open) {
  let now = null;
  let told = "";
  const frame = element("span", { class: "crop-frame", "aria-hidden": "true" });
  const image = element("img", { alt: "", loading: "lazy", decoding: "async" });
  const stage = element("span", { class: "stage" }, image, frame);
  const edit = element("button", { type: "button", class: "picture", onclick: () => open(now.number) }, stage);
  const keep = element("input", { type: "checkbox", onchange: () => set.decide(now.number, { keep: choice() }) });
  const name = element("span", { class: "name" });
  const label = element("label", { class: "keep" }, keep, name);
  const words = element("ul", { class: "findings" });
  const place = element("li", { class: "tile" }, edit, label, words);
  const choice = () => (keep.checked === now.proposed.kept ? null : keep.checked);

  function update(picture) {
    const text = JSON.stringify(picture) + set.checked;
    if (text === told) return;
    told = text;
    now = picture;
    place.className = `tile ${picture.kept === false ? "out" : ""} ${picture.mark}`;
    edit.setAttribute("aria-label", `Edit ${picture.name}`);
    edit.disabled = !picture.thumbnail;
    stage.classList.toggle("empty", !picture.thumbnail);
    if (picture.thumbnail) {
      const address = set.address(picture, "thumbnail");
      if (image.getAttribute("src") !== address) image.src = address;
      image.width = picture.width || 320;
      image.height = picture.height || 320;
    }
    image.hidden = !picture.thumbnail;
    frame.hidden = !picture.crop || picture.kept === false || !picture.thumbnail;
    if (picture.crop) place_box(frame, picture.crop);
    keep.checked = picture.kept === true;
    keep.disabled = picture.mark === "unusable" || picture.kept === null;
    name.textContent = picture.name;
    name.title = picture.name;
    replace(words, sentences(picture).map(([level, sentence]) => element("li", { class: level }, sentence)));
  }
  return { place, update };
}

/** What is said under a picture: why it is left out first. */
export function sentences(picture, most = MOST_SAID) {
  if (picture.kept === null) return [["note", "Not looked at yet"]];
  const said = [];
  const reason = picture.why === "by hand" ? "Left out by you" : `Left out: it ${picture.why}`;
  if (picture.kept === false) said.push(["fault", reason]);
  if (picture.kept && picture.by_hand.includes("keep")) said.push(["note", "Kept by you"]);
  for (const finding of picture.findings) if (finding.sentence !== picture.why) said.push([finding.level, capital(finding.sentence)]);
  const made = picture.by_hand.filter((name) => name !== "keep");
  if (made.length) said.push(["note", `${capital(made.join(", "))} by you`]);
  if (picture.mask && !made.includes("mask")) said.push(["note", "Has a mask"]);
  const rest = said.length - most;
  return rest > 1 ? [...said.slice(0, most), ["note", `and ${rest} more`]] : said.slice(0, most + 1);
}

function place_box(box, [left, top, right, bottom]) {
  box.style.left = `${left * 100}%`;
  box.style.top = `${top * 100}%`;
  box.style.width = `${(right - left) * 100}%`;
  box.style.height = `${(bottom - top) * 100}%`;
}
