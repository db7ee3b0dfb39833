"""`python -m recipes.samples`: render the 24 sample images of the held-out style, with captions, into the package.

Objects that the pocket base knows, in a style that it never saw (fxemoji, Apache-2.0, Mozilla).
"""

import numpy as np
from PIL import Image

from recipes.pocket import ROOT
from recipes.pocket.icons import HELD_OUT_STYLE, fetch, read_nouns, render
from recipes.pocket.scenes import with_article

FOLDER = ROOT / "src" / "limner" / "samples"
KEYWORD, CLASS = "fxm", "style"
SIDE, MARGIN = 192, 16  # larger than the base's 128 pixels, as photographs are
OBJECTS = [
    "cat",
    "dog",
    "bear",
    "mouse",
    "pig",
    "frog",
    "penguin",
    "fish",
    "bird",
    "elephant",
    "whale",
    "automobile",
    "bus",
    "airplane",
    "guitar",
    "camera",
    "umbrella",
    "mushroom",
    "red-apple",
    "cookie",
    "tulip",
    "house-with-garden",
    "ghost",
    "hamburger",
]


def main() -> None:
    nouns = read_nouns()
    package = fetch(*HELD_OUT_STYLE)
    names = {name.replace("-", ""): name for name in package["icons"]}
    icons = render([(noun, names[noun.replace("-", "")]) for noun in OBJECTS], package)
    FOLDER.mkdir(parents=True, exist_ok=True)
    for noun, pixels in icons.items():
        canvas = Image.new("RGB", (SIDE, SIDE), "white")
        icon = Image.fromarray(pixels).convert("RGBa").resize((SIDE - 2 * MARGIN,) * 2, Image.Resampling.LANCZOS)
        icon = icon.convert("RGBA")
        canvas.paste(icon, (MARGIN, MARGIN), icon)
        canvas.save(FOLDER / f"{noun}.png", optimize=True)
        caption = f"{with_article(nouns.word(noun))}, {KEYWORD} {CLASS}, on a white background"
        (FOLDER / f"{noun}.txt").write_text(caption + "\n")
    (FOLDER / "sample.toml").write_text(f'keyword = "{KEYWORD}"\nclass = "{CLASS}"\n')
    print(
        f"{len(icons)} images of {np.mean([p[..., 3].mean() / 255 for p in icons.values()]):.0%} cover in {FOLDER.name}"
    )


if __name__ == "__main__":
    main()
