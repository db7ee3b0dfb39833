"""Whether pictures are photographs or simple drawings, such as those that the built-in base knows."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.evaluate.features import Evaluator
from limner.vision.pixels import Pixels, fitted

WEIGHTS = Path(__file__).with_name(
    "photograph.npy"
)  # `python -m recipes.photographs` makes it, and says how well it does
SMALL = 128  # pixels of the longer side at which texture is: noise and compression are gone, and things are still there
PLAIN = 10  # levels by which a plain background may differ from its colour
EVEN, STRAIGHT = 2, 4  # levels of a 3x3 neighbourhood's range, and of its second difference, that are none
MODERATE = 40  # levels: more is an edge
FEWEST = 100  # pixels beside a plain background, of which anything can be said


def are_photographs(images: Sequence[Image.Image]) -> bool:
    """Whether at least half of some images (RGB) are photographs; not of none."""
    if not images:
        return False
    found = [photographic(np.asarray(image), each) for image, each in zip(images, seen(images), strict=True)]
    return 2 * sum(value > 0 for value in found) >= len(found)


def photographic(rgb: Pixels, features: NDArray[np.float32]) -> float:
    """Above 0 for a photograph, below for a simple drawing. features: of `seen`, of the same image."""
    return float(np.concatenate([features, texture(rgb), [1.0]]) @ _weights())


def seen(images: Sequence[Image.Image]) -> NDArray[np.float32]:
    """What the evaluator's network sees in images: rows of unit length."""
    return Evaluator()(images).pooled.numpy()


def texture(rgb: Pixels) -> NDArray[np.float32]:
    """Six shares and measures of what is not plain background: how much is even, straight and of moderate contrast,
    how many colours and how many tones there are, and how much of the picture it is. Each is about 0..1."""
    small = fitted(rgb, SMALL)
    levels = small.astype(np.int16)
    colours = _coarse(small)
    values, counts = np.unique(colours, return_counts=True)
    commonest = np.median(levels[colours == values[counts.argmax()]], axis=0)
    square = np.ones((3, 3), np.uint8)
    near = (np.abs(levels - commonest).max(axis=2) <= PLAIN).astype(np.uint8)
    rest = cv2.erode(near, square)[1:-1, 1:-1] == 0
    if rest.sum() < FEWEST:
        rest[:] = True
    reach = (cv2.dilate(small, square).astype(np.int16) - cv2.erode(small, square)).max(axis=2)[1:-1, 1:-1][rest]
    inner = levels[1:-1, 1:-1]
    around = levels[:-2, 1:-1] + levels[2:, 1:-1] + levels[1:-1, :-2] + levels[1:-1, 2:]
    bent = np.abs(4 * inner - around).max(axis=2)[rest]
    return np.array(
        [
            (reach <= EVEN).mean(),
            (bent <= STRAIGHT).mean(),
            ((reach > EVEN) & (reach <= MODERATE)).mean(),
            _entropy(colours[1:-1, 1:-1][rest]) / 12,
            _entropy(inner.mean(axis=2).astype(np.int16)[rest]) / 8,
            rest.mean(),
        ],
        np.float32,
    )


def _coarse(rgb: Pixels) -> NDArray[np.int32]:
    """A number for each pixel's colour, of 32 levels a channel."""
    red, green, blue = (channel.astype(np.int32) >> 3 for channel in cv2.split(rgb))
    return (red << 10) | (green << 5) | blue


def _entropy(values: NDArray[np.int32] | NDArray[np.int16]) -> float:
    """In bits."""
    counts = np.unique(values, return_counts=True)[1]
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


@cache
def _weights() -> NDArray[np.float32]:
    return np.load(WEIGHTS, allow_pickle=False).astype(np.float32)
