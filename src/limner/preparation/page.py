"""index.html: what was decided, picture by picture, for the person who says whether it is right.

Before, with the crop drawn in, and after; the caption, the mask, the reason; and what to write in choices.toml to have
it otherwise. Nothing is loaded from elsewhere but the pictures in the folder.
"""

import html
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from limner.preparation.choices import NAME, quoted
from limner.preparation.layouts import before_of
from limner.preparation.ledger import plain
from limner.preparation.write import MOST_BEFORE
from limner.texts import printable

if TYPE_CHECKING:
    from limner.preparation.prepare import Made

STYLE = """
:root { color-scheme: light dark; --paper: #fbfaf7; --card: #ffffff; --ink: #1d2129; --faint: #636a76; --line: #dcd9d2;
  --crop: #c2571a; }
@media (prefers-color-scheme: dark) { :root { --paper: #16181d; --card: #1e2128; --ink: #e8e6e1; --faint: #9aa1ad;
  --line: #353a44; --crop: #f29a5e; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 80rem; background: var(--paper); color: var(--ink);
  font: 1rem/1.45 system-ui, sans-serif; }
h1 { font-size: 1.4rem; margin: 0 0 .2rem; } h2 { font-size: 1.15rem; margin: 1.4rem 0 .4rem; }
h3 { font-size: .95rem; margin: 0 0 .4rem; overflow-wrap: anywhere; }
p { margin: .3rem 0; } .faint { color: var(--faint); font-size: .9rem; }
.all { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 24rem), 1fr)); gap: .8rem; }
article { background: var(--card); border: 1px solid var(--line); border-radius: .5rem; padding: .8rem; }
.two { display: flex; gap: .6rem; align-items: start; flex-wrap: wrap; }
figure { margin: 0; position: relative; display: inline-block; } figure img { display: block; max-height: 11rem;
  max-width: 100%; width: auto; height: auto; border-radius: .2rem; }
.crop { position: absolute; border: 2px solid var(--crop); box-shadow: 0 0 0 1px #0007; pointer-events: none; }
.out img { filter: grayscale(1) opacity(.6); } .caption { font-weight: 600; overflow-wrap: anywhere; }
code { font-size: .85rem; overflow-wrap: anywhere; }
"""

Told = dict[str, Any]


def page(made: "Made", decisions: Callable[[], Iterable[Told]]) -> Iterator[str]:
    """The page, line by line. decisions: gives those of all pictures, each time that it is called."""
    title = f"{made.kept} of {made.pictures} pictures"
    yield '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
    yield f"<title>{title}</title><style>{STYLE}</style></head><body>\n"
    yield f"<h1>{title} are in this data set</h1>\n"
    yield f"<p>On average {made.lost:.0%} of a picture is cut away; {made.enlarged} are enlarged.</p>\n"
    yield (
        f"<p>Where you decide otherwise, write it into <code>{NAME}</code> below the line that stands at the picture, "
        "as in <code>keep = false</code>, <code>keep = true</code>, <code>crop = [0.1, 0, 0.9, 1]</code> or "
        '<code>caption = "..."</code>, and give the same command again. You can edit captions and paint masks in the '
        "folder <code>images</code> as well; what you changed stays.</p>\n"
    )
    yield from (f"<p>{_text(remark.sentence)}</p>\n" for remark in made.remarks)
    for heading, kept in (("Left out", False), ("Kept", True)):
        count = made.kept if kept else made.pictures - made.kept
        yield f'<h2>{heading}: {count}</h2>\n<div class="all">\n'
        shown = (told for told in decisions() if told["kept"] == kept and told["number"] <= MOST_BEFORE)
        yield from (_card(told) for told in shown)
        yield "</div>\n"
    if made.pictures > MOST_BEFORE:
        yield f'<p class="faint">The first {MOST_BEFORE} are shown here; all are in decisions.jsonl.</p>\n'
    yield "</body></html>\n"


def _card(told: Told) -> str:
    source = plain(told["source"])
    parts = [f"<h3>{_text(source)}</h3>", '<div class="two">', _before(told)]
    if told["kept"]:
        width, height = told["size"]
        parts.append(_image(told["file"], "after", width, height))
        if told["mask"]:
            parts.append(_image(told["mask"], "its mask", width, height))
    parts.append("</div>")
    if told["kept"]:
        origin = f"caption {told['caption_from']}" if told["caption"] else "no caption"
        parts.append(f'<p class="caption">{_text(told["caption"])}</p>')
        parts.append(f'<p class="faint">{_text("; ".join((_view(told), origin, *_notes(told))))}</p>')
    parts.append(f"<p>{_text('Kept: ' if told['kept'] else 'Left out: it ')}{_text(told['why'])}</p>")
    parts.append(f"<code>[pictures.{_text(quoted(source))}]</code>")
    css = "" if told["kept"] else ' class="out"'
    return f"<article{css}>{''.join(parts)}</article>\n"


def _before(told: Told) -> str:
    width, height = told["source_size"]
    if not width:
        return ""
    mark = ""
    if told["kept"]:
        left, top, right, bottom = told["crop"]
        sides = {"left": left / width, "top": top / height, "right": 1 - right / width, "bottom": 1 - bottom / height}
        style = ";".join(f"{name}:{max(0.0, share):.2%}" for name, share in sides.items())
        mark = f'<div class="crop" style="{style}"></div>'
    return _image(before_of(told["number"]), "before", width, height, mark)


def _image(path: str, what: str, width: int, height: int, mark: str = "") -> str:
    size = f'width="{width}" height="{height}"'
    return f'<figure><img loading="lazy" src="{quote(path)}" alt="{what}" {size}>{mark}</figure>'


def _view(told: Told) -> str:
    return f"{told['size'][0]}x{told['size'][1]}, {told['crop_why']}, {told['lost']:.0%} cut away"


def _notes(told: Told) -> Iterator[str]:
    if told["enlargement"] > 1:
        yield f"enlarged {told['enlargement']:.2g} times"
    if told["subject_lost"] >= 0.005:
        yield f"{told['subject_lost']:.0%} of the subject cut away"
    if told["edited"]:
        yield "changed by hand"
    if told["mask_from"]:
        yield f"mask: {told['mask_from']}"


def _text(text: str) -> str:
    return html.escape(printable(text))
