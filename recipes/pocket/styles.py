"""The styles of the pocket base: each a set of icons and what is done to its drawings. A caption has the style's name.

Chosen so that a person tells them apart at a glance, behind an autoencoder of a factor of 8 too: nothing that makes a
style may be finer than about four pixels. On real renders of the report's 500 questions the judge names 98.2% of the
styles after 1,760 of its 2,500 steps. Of pixel art without dark cells around it, it named 28 of 51 after 1,200 and
took 15 for flat.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass

import numpy as np

from recipes.pocket import BUILD, SIZE, effects
from recipes.pocket.icons import SETS, fetch, read_nouns, svg_of


@dataclass(frozen=True)
class Style:
    """A set of icons.SETS, and how a style draws its SVGs.

    ink: drawn in one dark colour, on black in a light one. cell: side in pixels of the squares of which pixel art is
    made, which lie alike in every scene. finish: what is done to a whole scene, its background too.
    """

    icons: str
    draw: Callable[[str], np.ndarray]
    ink: bool = False
    cell: int = 0
    finish: Callable[[np.ndarray, np.random.Generator], np.ndarray] | None = None


PLAIN = Style("flat", effects.plain)
STYLES = {
    "flat": PLAIN,
    "glossy": Style("glossy", effects.glossy),
    "comic": Style("minimal", effects.comic),
    "line art": Style("minimal", effects.line_art),
    "silhouette": Style("minimal", effects.silhouette, ink=True),
    "pixel art": Style("flat", effects.plain, cell=6),
    "sticker": Style("classic", effects.sticker),
    "watercolor": Style("rounded", effects.watercolor),
}
# Never shown to any part of the pocket base: for the demo and for subjects.
HELD_OUT_STYLES = {
    "neon": Style("flat", effects.neon),
    "stained glass": Style("minimal", effects.leaded, finish=effects.panes),
}


def style_of(name: str) -> Style:
    """The style of that name; icons of a plain set are pasted as they are."""
    return (STYLES | HELD_OUT_STYLES).get(name, PLAIN)


def draw_icon(style: Style, svg: str) -> np.ndarray:
    """RGBA pixels, uint8 (128, 128, 4)."""
    return np.round(effects.resized(style.draw(svg), SIZE) * 255).astype(np.uint8)


def draw_icons(names: Iterable[str], nouns: Iterable[str]) -> dict[str, np.ndarray]:
    """{"style/noun": uint8 (128, 128, 4)} of the styles of those names, on all cores."""
    nouns = tuple(nouns)
    icons: dict[str, np.ndarray] = {}
    with ProcessPoolExecutor() as pool:
        for name in names:
            style = style_of(name)
            package = fetch(*SETS[style.icons])
            found = {f"{name}/{noun}": svg for noun in nouns if (svg := svg_of(package, noun))}
            drawn = pool.map(draw_icon, [style] * len(found), found.values(), chunksize=16)
            icons |= dict(zip(found, drawn, strict=True))
    return icons


def load_styled() -> dict[str, np.ndarray]:
    """Every noun in every known style, drawn once and kept in the build folder."""
    cache = BUILD / "styled.npz"
    if not cache.exists():
        icons = draw_icons(STYLES, read_nouns().nouns)
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(".partial.npz")
        np.savez(partial, keys=np.array(list(icons)), pixels=np.stack(list(icons.values())))
        partial.rename(cache)
    data = np.load(cache)
    return dict(zip(data["keys"].tolist(), data["pixels"], strict=True))
