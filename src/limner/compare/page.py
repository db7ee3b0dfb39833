"""The page of a comparison: one file with everything in it, for a phone as for a desk."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from limner.compare.entry import Entry
from limner.compare.training import Trained
from limner.evaluate.metrics import Spread
from limner.sheet import jpeg_uri

SIDE = 256  # pixels, at most, of a picture on the page
SHOWN = 12  # training pictures
DASH = "&ndash;"

STYLE = """
:root { color-scheme: light dark; --ink: #1d2129; --faint: #5f6775; --paper: #fbfaf7; --line: #d9d6cf;
  --good: #e7f0e4; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e6e1; --faint: #a3a9b5; --paper: #16181d; --line: #363a43; --good: #22301f; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 70rem; padding: 1rem; background: var(--paper); color: var(--ink);
  font: 16px/1.45 system-ui, sans-serif; }
h1 { font-size: 1.5rem; line-height: 1.2; margin: .2rem 0 .4rem; }
h2 { font-size: 1.1rem; margin: 1.8rem 0 .5rem; }
p { margin: .4rem 0; }
.faint, figcaption, th small, td small { color: var(--faint); }
.strip { display: flex; gap: .4rem; overflow-x: auto; padding-bottom: .4rem; }
.strip img { width: 84px; height: 84px; object-fit: cover; flex: none; }
img { display: block; border: 1px solid var(--line); border-radius: 4px; background: #fff; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .5rem; border-bottom: 1px solid var(--line); text-align: right; vertical-align: top; }
th:first-child { text-align: left; font-weight: 500; position: sticky; left: 0; background: var(--paper);
  min-width: 7.5rem; }
td { white-space: nowrap; }
thead th { font-weight: 600; }
th small, td small { display: block; font-weight: 400; }
@media (max-width: 34rem) { body { padding: .6rem; } th, td { padding: .3rem .35rem; font-size: .88rem; } }
td.best { background: var(--good); font-weight: 600; }
.failed { border-left: 4px solid #c0392b; padding-left: .6rem; }
.pictures { display: grid; gap: .3rem; grid-template-columns: repeat(var(--columns), minmax(52px, 200px)); }
.prompt { grid-column: 1 / -1; margin: .8rem 0 0; font-weight: 500; }
.head { position: sticky; top: 0; background: var(--paper); padding: .3rem 0; z-index: 1; font-weight: 600;
  font-size: clamp(.62rem, 2.6vw, .85rem); border-bottom: 1px solid var(--line); }
.pictures img { width: 100%; height: auto; }
.none { border: 1px dashed var(--line); border-radius: 4px; aspect-ratio: 1; }
.advice { border: 1px solid var(--line); border-radius: 8px; padding: .6rem 1rem; }
.advice li { margin: .3rem 0; }
.advice li:last-child { font-weight: 600; }
"""


@dataclass(frozen=True)
class Shown:
    """What the page shows beside the figures. columns: {method: its drawings, a list a prompt}, the base's first."""

    title: str
    about: Sequence[str]
    training: Sequence[Image.Image]
    prompts: Sequence[str]
    columns: dict[str, list[list[Image.Image]]]


def page(shown: Shown, entries: Sequence[Entry], advice: Sequence[str]) -> str:
    """The whole HTML file."""
    pictures = "".join(_picture(image, "a training picture") for image in shown.training)
    about = "".join(f"<p class=faint>{_text(line)}</p>" for line in shown.about)
    failures = "".join(
        f"<p class=failed><b>{_text(entry.label)}</b> has no figures: {_text(entry.failure)}</p>"
        for entry in entries
        if entry.failure
    )
    points = "".join(f"<li>{_text(sentence)}</li>" for sentence in advice)
    return f"""<!doctype html>
<html lang=en>
<meta charset=utf-8>
<meta name=viewport content="width=device-width, initial-scale=1">
<title>{_text(shown.title)}</title>
<style>{STYLE}</style>
<h1>{_text(shown.title)}</h1>
{about}
<h2>Some of the training pictures</h2>
<div class=strip>{pictures}</div>
<h2>Figures</h2>
{failures}
<div class=wide>{_table(entries)}</div>
<h2>Pictures</h2>
<p class=faint>Side by side: the same prompt and the same noise.</p>
{_pictures(shown, entries)}
<h2>What follows</h2>
<div class=advice><ul>{points}</ul></div>
</html>
"""


def _table(entries: Sequence[Entry]) -> str:
    """A row a figure, a column a method that has any."""
    judged = [entry for entry in entries if entry.report]
    if not judged:
        return "<p>No method has figures.</p>"
    head = "".join(f"<th>{_text(entry.label)}</th>" for entry in judged)
    rows = "".join(
        f"<tr><th>{name}<small>{note}</small></th>{''.join(cells)}</tr>" for name, note, cells in _rows(judged)
    )
    return f"<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _rows(entries: Sequence[Entry]) -> list[tuple[str, str, list[str]]]:
    reports = [entry.report for entry in entries if entry.report]
    main = reports[0].main[0]
    figures = {
        "likeness": ("Likeness", [(r.likeness.normalised, r.likeness_over_seeds) for r in reports]),
        "style": ("Style", [(r.style.normalised, r.style_over_seeds) for r in reports]),
    }
    rows = []
    for name in sorted(figures, key=lambda each: each != main):
        title, values = figures[name]
        best = max((v for v, _ in values if v is not None), default=None) if name == main else None
        cells = [_cell(_share(value, spread), value is not None and value == best) for value, spread in values]
        rows.append((title, "what counts here; 0 is the base, 1 its best" if name == main else "", cells))
    if all(r.fidelity for r in reports):
        kept = [_share(r.fidelity.kept, r.fidelity.over_seeds) for r in reports if r.fidelity]
        rows.append(("Prompt fidelity kept", "share of the base's", [_cell(text) for text in kept]))
    if all(r.clip_text for r in reports):
        rows.append(("CLIP-T", "", [_cell(f"{r.clip_text.score:.3f}") for r in reports if r.clip_text]))
    rows.append(("Drift", "of unrelated prompts", [_cell(f"{r.unrelated_drift:.3f}") for r in reports]))
    moved = [DASH if r.class_drift is None else f"{r.class_drift:.3f}" for r in reports]
    rows.append(("", "of the class alone", [_cell(text) for text in moved]))
    rows.append(("Near-copies", "of training pictures", [_cell(f"{r.near_copies:.0%}") for r in reports]))
    costs = [entry.trained for entry in entries]
    rows.append(("Steps", "", [_cell(_steps(cost) if cost else DASH) for cost in costs]))
    rows.append(("Time", "of the training", [_cell(_time(cost.seconds) if cost else DASH) for cost in costs]))
    peaks = [_size(cost.peak_memory_bytes) if cost else DASH for cost in costs]
    rows.append(("Peak memory", "of the training", [_cell(text) for text in peaks]))
    rows.append(("File", "", [_cell(_size(cost.size_bytes) if cost else DASH) for cost in costs]))
    return rows


def _pictures(shown: Shown, entries: Sequence[Entry]) -> str:
    labels = {entry.method: entry.label for entry in entries}
    columns = list(shown.columns)
    parts = [f"<div class=head>{_text(labels.get(name, name))}</div>" for name in columns]
    for number, prompt in enumerate(shown.prompts):
        parts.append(f"<p class=prompt>{_text(prompt)}</p>")
        parts += [_picture(shown.columns[name][number][0], f"{labels.get(name, name)}: {prompt}") for name in columns]
    return f'<div class=pictures style="--columns: {len(columns)}">{"".join(parts)}</div>'


def _cell(text: str, best: bool = False) -> str:
    return f"<td{' class=best' if best else ''}>{text}</td>"


def _share(value: float | None, spread: Spread | None) -> str:
    if value is None:
        return DASH
    noise = f"<small>&plusmn; {spread.deviation:.2f}</small>" if spread and spread.deviation is not None else ""
    return f"{value:.2f}{noise}"


def _steps(cost: Trained) -> str:
    kept = cost.kept_step
    return f"{cost.steps:,}" + (f"<small>kept: {kept:,}</small>" if kept and kept != cost.steps else "")


def _time(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def _size(number: int) -> str:
    for limit, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if number >= limit:
            return f"{number / limit:.3g} {unit}"
    return f"{number} bytes"


def _picture(image: Image.Image, alt: str) -> str:
    """The picture itself, in the page."""
    return f'<img alt="{_text(alt)}" src="{jpeg_uri(image, SIDE)}">'


def _text(text: str | None) -> str:
    return html.escape(text or "")
