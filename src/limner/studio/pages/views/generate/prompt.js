// A text area for a prompt: what it can name is completed, and emphasis goes up and down by keys.

import { get } from "../../lib/api.js";
import { element, replace } from "../../lib/dom.js";
import { emphasised } from "./emphasis.js";

const MS_BEFORE_ASKING = 120;
const FEWEST = 2; // letters of a word that is completed
const TAG = /<(?:l(?:o(?:r(?:a(?::([^<>:\n]*))?)?)?)?)?$/;
const WORD = /[^\s,()[\]:<>|]+$/;
const KINDS = { lora: "LoRA", embedding: "embedding", keyword: "keyword" };

/** promptBox("Prompt", "prompt"): { place, value, focus }. The list below it follows the pattern of a combobox. */
export function promptBox(label, name) {
  const id = `prompt-${name}`;
  const list = element("ul", { role: "listbox", id: `${id}-list`, "aria-label": `What completes the ${label.toLowerCase()}`, class: "completion", hidden: true });
  const heard = element("p", { class: "unseen", role: "status" });
  const area = element("textarea", {
    id,
    rows: name === "prompt" ? 4 : 2,
    maxlength: 20000,
    spellcheck: "false",
    autocapitalize: "off",
    "aria-autocomplete": "list",
    "aria-controls": list.id,
    "aria-describedby": `${id}-help`,
    oninput: plan,
    onkeydown: pressed,
    onblur: close,
    onclick: close,
  });
  const help = "Type < for a LoRA; Ctrl with the up and down arrows changes how much the words at the cursor count.";
  const place = element(
    "div",
    { class: "row prompt" },
    element("label", { for: id }, label),
    element("div", { class: "held" }, area, list),
    element("p", { class: name === "prompt" ? "help" : "unseen", id: `${id}-help` }, help),
    heard,
  );
  let rows = [];
  let at = 0;
  let asked = 0;
  let timer;

  /** What is being typed: from where to where it would be replaced, the letters, and of which kind. */
  function typed() {
    const end = area.selectionEnd;
    if (end !== area.selectionStart) return null;
    const before = area.value.slice(0, end);
    const after = area.value.slice(end);
    const tag = TAG.exec(before);
    if (tag) return { from: tag.index, to: end + (/^[^<>\n]*>/.exec(after)?.[0].length ?? 0), letters: tag[1] ?? "", kind: "lora" };
    const word = WORD.exec(before);
    if (word === null || word[0].length < FEWEST || /^[^\s,()[\]:<>|]/.test(after)) return null;
    return { from: word.index, to: end, letters: word[0], kind: "" };
  }

  function plan() {
    clearTimeout(timer);
    const turn = ++asked;
    const now = typed();
    if (now === null) close();
    else timer = setTimeout(() => ask(now, turn), MS_BEFORE_ASKING);
  }

  async function ask(now, turn) {
    const found = await get(`/api/words?type=${now.kind}&q=${encodeURIComponent(now.letters)}`).catch(() => []);
    if (turn !== asked || document.activeElement !== area) return;
    const letters = now.letters.toLowerCase();
    const begins = (row) => row.name.toLowerCase().startsWith(letters) && row.text !== now.letters;
    rows = now.kind === "lora" ? found : found.filter(begins);
    at = 0;
    show();
  }

  function show() {
    if (!rows.length) return close();
    replace(list, rows.map((row, number) => option(row, number)));
    list.hidden = false;
    heard.textContent = `${rows.length} to choose from: arrows go on, Enter takes, Escape closes`;
    mark();
  }

  function option(row, number) {
    const more = [KINDS[row.kind], row.family, ...row.keywords.slice(0, 3)].filter(Boolean).join(" · ");
    return element(
      "li",
      {
        role: "option",
        id: `${list.id}-${number}`,
        onmousedown(event) {
          event.preventDefault(); // the text keeps the focus
          take(number);
        },
      },
      element("span", { class: "mono" }, row.name),
      element("span", { class: "soft small" }, more),
    );
  }

  function mark() {
    [...list.children].forEach((each, number) => each.setAttribute("aria-selected", number === at));
    area.setAttribute("aria-activedescendant", `${list.id}-${at}`);
    list.children[at].scrollIntoView({ block: "nearest" });
  }

  function close() {
    clearTimeout(timer);
    asked++;
    rows = [];
    list.hidden = true;
    heard.textContent = "";
    area.removeAttribute("aria-activedescendant");
  }

  function take(number) {
    const { text, keywords } = rows[number];
    const now = typed();
    if (now === null) return close();
    const others = area.value.slice(0, now.from) + area.value.slice(now.to);
    const missing = keywords.slice(0, 1).filter((word) => !others.includes(word));
    put([text, ...missing].join(" "), now.from, now.to);
    close();
  }

  /** As if it had been typed, so that it can be undone. */
  function put(text, from, to) {
    area.setSelectionRange(from, to);
    if (!document.execCommand("insertText", false, text)) {
      area.setRangeText(text, from, to, "end");
      area.dispatchEvent(new Event("input", { bubbles: true }));
    }
  }

  function pressed(event) {
    const steps = { ArrowUp: 1, ArrowDown: -1 }[event.key];
    if (steps && (event.ctrlKey || event.metaKey)) {
      event.preventDefault();
      const made = emphasised(area.value, area.selectionStart, area.selectionEnd, steps);
      if (made) {
        put(made.text, made.from, made.to);
        area.setSelectionRange(made.start, made.end);
        close();
      }
    } else if (rows.length && steps) {
      event.preventDefault();
      at = (at - steps + rows.length) % rows.length;
      mark();
    } else if (rows.length && (event.key === "Enter" || event.key === "Tab") && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
      event.preventDefault();
      take(at);
    } else if (rows.length && event.key === "Escape") {
      event.preventDefault();
      close();
    }
  }

  return {
    place,
    focus: () => area.focus(),
    get value() {
      return area.value;
    },
    set value(text) {
      area.value = text;
    },
  };
}
