"""A checked set as a page of its own: one file with everything in it, for a phone as for a desk, in light and dark."""

import html
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from limner.checking.findings import Finding
from limner.checking.summary import TITLES, Summary, mark_of, together
from limner.checking.thumbnail import thumbnail
from limner.checking.verdict import ALL_KINDS, Judged, Verdict
from limner.data.source import Source
from limner.sheet import jpeg_uri
from limner.texts import printable

MOST = 400  # pictures on a page: at about 15 kB each a file that a phone opens at once
SIDE = 256  # pixels
QUALITY = 80  # of their JPEG

STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --faint: #5f6775; --paper: #fbfaf7; --card: #ffffff;
  --ground: #eceae4; --line: #d9d6cf;
  --unusable: #7a1f1f; --out: #c8442f; --note: #d29a1c; --fine: #3f8f57; --best: #2f6fb0; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e6e1; --faint: #a3a9b5; --paper: #16181d; --card: #1e2128; --ground: #0f1115; --line: #363a43;
    --unusable: #d06a6a; --out: #f0705c; --note: #e0b14a; --fine: #6fbf87; --best: #78b0ea; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 80rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; line-height: 1.2; margin: .2rem 0 .6rem; overflow-wrap: anywhere; }
p { margin: .4rem 0; }
.faint { color: var(--faint); font-size: .9rem; }
.remarks { border: 1px solid var(--line); border-radius: 8px; padding: .5rem 1rem .5rem 2rem; background: var(--card);
  margin: .6rem 0; }
.remarks li { margin: .3rem 0; overflow-wrap: anywhere; }
.remarks .fault { font-weight: 600; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; padding: .6rem 0; position: sticky; top: 0; z-index: 1;
  background: var(--paper); }
@media (max-width: 34rem) { body { padding: .6rem; } nav { flex-wrap: nowrap; overflow-x: auto; } }
button { font: inherit; font-size: .9rem; color: inherit; background: var(--card); border: 1px solid var(--line);
  border-radius: 1rem; padding: .25rem .8rem; cursor: pointer; white-space: nowrap; }
button[aria-pressed=true] { background: var(--ink); color: var(--paper); }
main { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(46%, 13rem), 1fr));
  align-items: start; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-top: 5px solid var(--fine);
  border-radius: 6px; overflow: hidden; }
figure.unusable { border-top-color: var(--unusable); } figure.out { border-top-color: var(--out); }
figure.note { border-top-color: var(--note); } figure.best { border-top-color: var(--best); }
figure img, .none { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: var(--ground); }
.none { display: grid; place-items: center; color: var(--unusable); font-size: 3rem; background: var(--paper); }
figcaption { padding: .5rem .6rem .6rem; font-size: .85rem; overflow-wrap: anywhere; }
figcaption b { display: block; } figcaption ul { margin: .3rem 0 0; padding: 0 0 0 1rem; }
figcaption i { color: var(--faint); }
.same { grid-column: 1 / -1; border-left: 4px solid var(--best); padding-left: .6rem; display: grid; gap: .8rem;
  grid-template-columns: inherit; align-items: start; }
[hidden] { display: none !important; }
"""

# Shows the pictures of one kind of finding; without scripts all are shown, and the buttons with them do nothing.
SCRIPT = """
const buttons = document.querySelectorAll("nav button");
buttons.forEach(button => button.addEventListener("click", () => {
  buttons.forEach(each => each.setAttribute("aria-pressed", each === button));
  const kind = button.value;
  document.querySelectorAll("figure").forEach(figure => {
    figure.hidden = kind !== "" && !figure.dataset.kinds.split(" ").includes(kind);
  });
  document.querySelectorAll(".same").forEach(group => {
    group.hidden = !group.querySelector("figure:not([hidden])");
  });
}));
"""


@dataclass(frozen=True)
class About:
    """What stands at the page's head: a title, lines on the set; and what says a picture's caption, "" for none."""

    title: str
    lines: Sequence[str]
    caption_of: Callable[[Source], str]


def page(about: About, verdict: Verdict, summary: Summary, most: int = MOST) -> Iterator[str]:
    """The HTML file in parts, worst pictures first, at most about `most` of them."""
    remarks = "".join(f'<li class="{each.level}">{_text(each.sentence)}</li>' for each in verdict.remarks)
    yield f"""<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=generator content="limner check">
<meta name=viewport content="width=device-width, initial-scale=1">
<title>{_text(about.title)}</title>
<style>{STYLE}</style>
<h1>{_text(about.title)}</h1>
"""
    for line in about.lines:
        yield f"<p class=faint>{_text(line)}</p>\n"
    yield f"<ul class=remarks>{remarks}</ul>\n" if remarks else ""
    yield f"<nav>{''.join(_buttons(summary))}</nav>\n<main>\n"
    shown = 0
    for places in together(verdict, summary, most):
        shown += len(places)
        figures = (_figure(verdict[at], len(places) > 1 and at == places[0], about.caption_of) for at in places)
        if len(places) == 1:
            yield from figures
        else:
            yield "<div class=same>\n"
            yield from figures
            yield "</div>\n"
    yield "</main>\n"
    if shown < len(verdict):
        yield f"<p class=faint>The {len(verdict) - shown} pictures that are not here have less to say.</p>\n"
    yield f"<script>{SCRIPT}</script>\n</html>\n"


def _buttons(summary: Summary) -> Iterator[str]:
    choices = [("", "all", len(summary.each))]
    choices += [(mark, TITLES[mark], summary.marks[mark]) for mark in TITLES]
    choices += [(kind, ALL_KINDS[kind].title, summary.kinds[kind]) for kind in ALL_KINDS]
    for value, title, count in choices:
        if count:
            pressed = "true" if not value else "false"
            yield f'<button type=button value="{value}" aria-pressed={pressed}>{_text(title)} {count}</button>'


def _figure(judged: Judged, best: bool, caption_of: Callable[[Source], str]) -> str:
    facts = judged.facts
    mark = mark_of(judged)
    image = thumbnail(judged.source, SIDE)
    alt = _text(facts.name)
    shown = (
        f'<img loading=lazy alt="{alt}" src="{jpeg_uri(image, SIDE, QUALITY)}">'
        if image is not None
        else "<div class=none>&times;</div>"
    )
    kinds = " ".join([mark, *dict.fromkeys(finding.kind for finding in judged.findings)])
    said = "".join(f"<li>{_text(finding.sentence)}.{_advice(finding)}</li>" for finding in judged.findings)
    size = f"{facts.width}x{facts.height} {_text(facts.kind)}" if facts.width else ""
    text = caption_of(judged.source)
    caption = f"<br><q>{_text(text)}</q>" if text else ""
    listed = f"<ul>{said}</ul>" if said else ""
    return (
        f'<figure class={"best" if best else mark} data-kinds="{kinds}">{shown}'
        f"<figcaption><b>{alt}</b>{size}{caption}{listed}</figcaption></figure>\n"
    )


def _advice(finding: Finding) -> str:
    """What to do about a fault; notes can wait."""
    return "" if finding.level == "note" else f" <i>{_text(ALL_KINDS[finding.kind].advice)}</i>"


def _text(text: str) -> str:
    return html.escape(printable(text))
