// Emphasis as the webui's keys change it: (words:1.1) in tenths, a LoRA's weight in twentieths.

const STEP = 0.1;
const LORA_STEP = 0.05;
const MOST = 10;
const BREAKS = /[.,\\/!?%^*;:{}=`~()[\]<>|\s]/;

/** What Ctrl+Up (steps 1) or Ctrl+Down (-1) makes of a text where start..end is selected: { text, from, to } to put in
 * place of that part, and the selection after it; null where there is nothing to count more or less. */
export function emphasised(value, start, end, steps) {
  const tag = around(value, start, end, /<(?:lora|lyco):[^<>:]+(?::([-+.\d]+))?[^<>]*>/g);
  if (tag) return ofLora(tag, steps);
  const bracket = around(value, start, end, /\(([^()]*):([-+]?[.\d]+)\)/g);
  if (bracket) {
    const [whole, words, weight] = bracket.match;
    return made(words, Number(weight) + steps * STEP, bracket.from, bracket.from + whole.length);
  }
  const [from, to] = start === end ? word(value, start) : trimmed(value, start, end);
  return from === to ? null : made(value.slice(from, to), 1 + steps * STEP, from, to);
}

function ofLora({ match, from }, steps) {
  const [whole, weight] = match;
  const next = figure(Number(weight ?? 1) + steps * LORA_STEP);
  const head = /^<(?:lora|lyco):[^<>:]+/.exec(whole)[0];
  const rest = weight === undefined ? whole.slice(head.length) : whole.slice(head.length + 1 + weight.length);
  const text = `${head}:${next}${rest}`;
  return { text, from, to: from + whole.length, start: from + head.length + 1, end: from + head.length + 1 + next.length };
}

function made(words, weight, from, to) {
  const next = figure(weight);
  const text = next === "1" ? words : `(${words}:${next})`;
  const start = from + (next === "1" ? 0 : 1);
  return { text, from, to, start, end: start + words.length };
}

function figure(weight) {
  return String(Number(Math.min(MOST, Math.max(-MOST, weight)).toFixed(2)));
}

/** The match of a pattern that holds the whole selection. */
function around(value, start, end, pattern) {
  for (const match of value.matchAll(pattern)) {
    if (match.index <= start && end <= match.index + match[0].length) return { match, from: match.index };
  }
  return null;
}

function word(value, at) {
  let from = at;
  let to = at;
  while (from > 0 && !BREAKS.test(value[from - 1])) from--;
  while (to < value.length && !BREAKS.test(value[to])) to++;
  return [from, to];
}

function trimmed(value, start, end) {
  while (start < end && /\s/.test(value[start])) start++;
  while (end > start && /\s/.test(value[end - 1])) end--;
  return [start, end];
}
