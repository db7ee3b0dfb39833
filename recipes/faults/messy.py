"""A messy version of a clean training set, as a telephone would hold it: with faults that a tool can find."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from recipes.faults import rng_of, spoil
from recipes.faults.edits import EDITS, Edit, Made, encode

COPIED = 3  # one picture in so many is there again, edited
COPIES = ("resized", "recompressed", "cropped", "recoloured", "bordered", "exact")
LARGE = 3  # side of the background around a picture that lies in a corner of it


def set_apart(image: Image.Image, rng: np.random.Generator) -> Made:
    """Small, in a corner of a large plain background of the picture's own colour."""
    canvas = Image.new("RGB", (image.width * LARGE, image.height * LARGE), image.getpixel((0, 0)))
    x, y = (int(side * (LARGE - 1) * rng.uniform(0.02, 0.25)) for side in image.size)
    canvas.paste(image, (x, y) if rng.random() < 0.5 else (canvas.width - image.width - x, y))
    return encode(canvas)


# What becomes of one picture after the other; the rest stay as they are.
SPOILS: tuple[Edit, ...] = (
    *(spoil.blurred_gaussian, spoil.blurred_gaussian, spoil.blurred_motion, spoil.enlarged),
    *(spoil.letterboxed, spoil.letterboxed, spoil.framed, spoil.framed),
    *(set_apart, set_apart, set_apart),
    *(spoil.turned(6), spoil.turned(8), spoil.turned(3)),
    *(spoil.compressed, spoil.compressed, spoil.compressed),
)


def messy(train: Path, out: Path, seed: int) -> None:
    """Replace a folder by the messy version of another: pictures with their captions beside them."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for number, (made, caption) in enumerate(_made(train, seed), 1):
        ending, data = made
        (out / f"IMG_{number:04}{ending}").write_bytes(data)
        (out / f"IMG_{number:04}.txt").write_text(caption, encoding="utf-8")


def _made(train: Path, seed: int) -> Iterator[tuple[Made, str]]:
    paths = sorted(train.glob("*.png"))
    order = [paths[at] for at in rng_of(seed, f"messy {train.parent.name}").permutation(len(paths))]
    for at, path in enumerate(order):
        image, caption = Image.open(path).convert("RGB"), path.with_suffix(".txt").read_text(encoding="utf-8")
        rng = rng_of(seed, f"{train.parent.name} {path.stem}")
        whole = (path.suffix, path.read_bytes())
        yield (SPOILS[at](image, rng) if at < len(SPOILS) else whole), caption
        if at % COPIED == 0:
            edit = COPIES[at // COPIED % len(COPIES)]
            yield (whole if edit == "exact" else EDITS[edit](image, rng)), caption
