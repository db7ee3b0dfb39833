"""Photographs are told from drawings, whatever was done to them."""

from pathlib import Path

import numpy as np
import pytest
from photos import photo
from PIL import Image, ImageDraw

from limner.data.folder import load_folder
from limner.demo import SAMPLES
from limner.evaluate.photograph import are_photographs

SUBJECTS = Path(__file__).parents[2] / "recipes" / "subjects"


def shape(colour: str) -> Image.Image:
    image = Image.new("RGB", (96, 96), "white")
    ImageDraw.Draw(image).ellipse((20, 20, 76, 76), fill=colour)
    return image


def gradient() -> Image.Image:
    """A wall with a sensor's noise."""
    levels = np.linspace(60, 190, 200)[None, :, None] + np.random.default_rng(0).normal(0, 6, (150, 200, 3))
    return Image.fromarray(levels.clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(
    "images",
    [
        [photo(320, 240, seed) for seed in range(3)],
        [photo(256, 256, 7).resize((128, 128))],
        [photo(256, 256, 8).convert("L").convert("RGB")],
        [gradient()],
        [photo(320, 240, 1), shape("red")],
    ],
    ids=["large", "of the base's size", "grey", "a plain wall", "half of a set"],
)
def test_photographs(images: list[Image.Image]) -> None:
    assert are_photographs(images)


def test_drawings() -> None:
    assert not are_photographs([])
    assert not are_photographs([Image.new("RGB", (64, 64), "red"), shape("green")])
    assert not are_photographs([photo(320, 240, 1), shape("red"), shape("blue")])
    assert not are_photographs([each.open() for each in load_folder(SAMPLES).pictures])
    drawn = [path for folder in sorted(SUBJECTS.iterdir()) for path in sorted(folder.rglob("*.png"))[:2]]
    assert not any(are_photographs([Image.open(path).convert("RGB")]) for path in drawn)
