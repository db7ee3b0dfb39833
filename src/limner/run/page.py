"""run.html: a run as a page of its own, for a phone as for a desk, in light and dark; nothing is loaded from elsewhere
but the pictures in the run's folder."""

from html import escape
from pathlib import Path

from limner.run import verdict
from limner.run.curves import Chart, Story, extent, ticks

WIDTH, HEIGHT = 420, 220
LEFT, RIGHT, TOP, BOTTOM = 48, 12, 10, 24
REFRESH_SECONDS = 15

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #ffffff; --ink: #1d2129; --faint: #636a76; --line: #dcd9d2;
  --c0: #1f6fb5; --c1: #c2571a; --c2: #2b8a57; --c3: #8a4fb0; --kept: #b0851a; --warn: #a33a2c; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181d; --card: #1e2128; --ink: #e8e6e1; --faint: #9aa1ad;
  --line: #353a44; --c0: #6db3f2; --c1: #f29a5e; --c2: #6fcf97; --c3: #c79be8; --kept: #e0b84a; --warn: #f08a7b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 62rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; } h2 { font-size: 1.05rem; margin: 0; }
p { margin: .3rem 0; } .faint { color: var(--faint); font-size: .9rem; } .warn { color: var(--warn); }
progress { width: 100%; accent-color: var(--c0); }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem;
  margin: 1rem 0 0; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--faint); font-size: 12px; }
.grid { stroke: var(--line); } .kept { stroke: var(--kept); stroke-dasharray: 5 4; stroke-width: 2; }
polyline { fill: none; stroke-width: 2.2; stroke-linejoin: round; }
.key { display: inline-block; margin-right: 1rem; white-space: nowrap; font-size: .9rem; }
.key i { display: inline-block; width: 1.1rem; height: .25rem; border-radius: 2px; margin-right: .35rem;
  vertical-align: middle; }
.row { display: flex; gap: .4rem; overflow-x: auto; padding: .3rem 0; }
.row img { width: 6.4rem; height: 6.4rem; object-fit: cover; border-radius: .3rem; flex: none; }
.best { border-left: .25rem solid var(--kept); padding-left: .6rem; }
"""


def page(story: Story, folder: Path) -> str:
    """The page; `folder` is the run's, in which it will lie."""
    refresh = "" if story.ended else f'<meta http-equiv="refresh" content="{REFRESH_SECONDS}">'
    parts = [
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{refresh}',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{escape(story.title)}</title><style>{STYLE}</style></head><body>",
        f"<h1>{escape(story.title)}</h1>",
        f"<p>{escape(_state(story))}</p>",
        f'<progress max="{story.steps}" value="{story.step}"></progress>' if not story.ended else "",
        *(f'<p class="warn">{escape(warning)}</p>' for warning in story.warnings),
        '<div class="charts">',
        *(_section(chart, story) for chart in story.charts),
        "</div>",
        _pictures(story, folder),
        f'<p class="faint">Measuring took {story.measuring_share:.1%} of the time.</p>' if story.milestones else "",
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _state(story: Story) -> str:
    kept = f" The file is the state after step {story.kept}." if story.ended and story.kept is not None else ""
    if story.ended:
        return f"{story.ended[:1].upper()}{story.ended[1:]}.{kept}"
    best = f"; the best state so far is that of step {story.kept}" if story.kept is not None else ""
    return f"Step {story.step} of at most {story.steps}{best}."


def _section(chart: Chart, story: Story) -> str:
    keys = "".join(
        f'<span class="key"><i style="background: var(--c{number})"></i>{escape(curve.name)} '
        f"{curve.points[-1][1]:.3g}</span>"
        for number, curve in enumerate(chart.curves)
    )
    return (
        f"<section><h2>{escape(chart.title)}</h2><p>{keys}</p>{_svg(chart, story)}"
        f'<p class="faint">{escape(chart.note)}</p></section>'
    )


def _svg(chart: Chart, story: Story) -> str:
    low, high = extent(chart)
    last = max(story.step, 1)

    def place(step: float, value: float) -> tuple[float, float]:
        across = LEFT + (WIDTH - LEFT - RIGHT) * step / last
        return across, TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - low) / (high - low))

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(chart.title)}">']
    for value in ticks(low, high):
        _, y = place(0, value)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.3g}</text>')
    for step in (value for value in ticks(0, last) if value == int(value)):
        x, _ = place(step, low)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="middle">{step:.0f}</text>')
    if story.kept is not None:
        x, _ = place(story.kept, low)
        parts.append(f'<line class="kept" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
    for number, curve in enumerate(chart.curves):
        points = [place(*point) for point in curve.points]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline stroke="var(--c{number})" points="{line}"/>')
        if len(points) <= 40:
            parts += [
                f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.2" fill="var(--c{number})">'
                f"<title>{escape(curve.name)} {value:.4g} at step {step}</title></circle>"
                for (x, y), (step, value) in zip(points, curve.points, strict=True)
            ]
    return "".join(parts) + "</svg>"


def _pictures(story: Story, folder: Path) -> str:
    """The milestones' pictures and the previews, the latest first."""
    figures = {each.step: verdict.in_words(each.figures) for each in story.milestones}
    rows: dict[tuple[int, str], list[Path]] = {}
    for kind in ("milestones", "previews"):
        for path in sorted((folder / kind).glob("[0-9]*.png")):
            rows.setdefault((int(path.stem.split("-")[0]), kind), []).append(path)
    if not rows:
        return ""
    parts = ["<section><h2>Pictures</h2>"]
    for (step, kind), paths in sorted(rows.items(), reverse=True):
        name = "the base" if step == 0 else f"step {step}"
        said = figures.get(step, "") if kind == "milestones" else "preview"
        images = "".join(
            f'<img loading="lazy" src="{kind}/{escape(path.name)}" alt="{escape(name)}, picture {number}">'
            for number, path in enumerate(paths, 1)
        )
        best = ' class="best"' if step == story.kept and kind == "milestones" else ""
        parts.append(
            f'<div{best}><p>{escape(name)} <span class="faint">{escape(said)}</span></p>'
            f'<div class="row">{images}</div></div>'
        )
    return "".join(parts) + "</section>"
