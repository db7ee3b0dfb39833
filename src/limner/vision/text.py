"""Writing in a picture, found without weights: rows of like shapes that stand on one line."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from limner.vision.pixels import Pixels, fitted

SIDE = 800  # pixels, the longest, at which writing is looked for
AROUND = 25  # pixels with which a letter is compared
APART = 14  # levels that it must differ from them
HEIGHTS = (6, 0.25)  # of a letter: pixels, share of the picture
FILL = (0.12, 0.92)  # of its box that a letter's ink covers
WIDEST = 2.2  # times its height
ALIKE = 1.8  # a letter's height to its neighbour's
GAP = 1.3  # heights between a letter and the next
LETTERS = 5  # of a row at least
LEVEL = 0.14  # of the height by which the feet, or the heads, of a row may lie off a line, on average
TEXTURE = 3  # times what is found in columns
TONES = 0.72  # of the variance of a row; see _two_tones()
EVEN = 0.3  # of the ink's width, by which it may vary in a row


@dataclass(frozen=True)
class _Shapes:
    """Boxes of connected ink: arrays (n,) of left, top, width, height in pixels, and the ink's mean width."""

    left: NDArray[np.float64]
    top: NDArray[np.float64]
    width: NDArray[np.float64]
    height: NDArray[np.float64]
    stroke: NDArray[np.float64]


def text_share(grey: Pixels) -> float:
    """The share of a picture that rows of letters cover, 0..1; single short words and handwriting are missed.

    Grass and gravel make rows too, but as many columns, so that what is found in the picture on its side is taken off.
    """
    grey = fitted(grey, SIDE)
    area = _written(grey)
    if area:
        area -= TEXTURE * _written(np.ascontiguousarray(grey.T))
    return min(1.0, max(0.0, area / grey.size))


def _written(grey: Pixels) -> float:
    return sum(_rows(grey, _shapes(grey, dark)) for dark in (True, False))


def _shapes(grey: Pixels, dark: bool) -> _Shapes:
    """What is darker, or lighter, than its surroundings and of the size and shape of letters."""
    if dark:
        ink = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, AROUND, APART)
    else:
        ink = cv2.adaptiveThreshold(255 - grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, AROUND, APART)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=4)
    left, top, width, height, area = (stats[:, column].astype(float) for column in range(5))
    fill = area / (width * height)
    fits = (height >= HEIGHTS[0]) & (height <= HEIGHTS[1] * grey.shape[0]) & (width <= WIDEST * height)
    fits &= (fill >= FILL[0]) & (fill <= FILL[1]) & (width >= 2)
    fits[0] = False  # the paper
    edge = cv2.morphologyEx(ink, cv2.MORPH_ERODE, np.ones((3, 3), np.uint8))
    outline = np.bincount(labels[(ink > 0) & (edge == 0)], minlength=count)
    stroke = 2 * area / np.maximum(outline, 1)
    return _Shapes(*(each[fits] for each in (left, top, width, height, stroke)))


def _rows(grey: Pixels, shapes: _Shapes) -> float:
    """Pixels that the rows among shapes cover."""
    order = np.argsort(shapes.left, kind="stable")
    left, top, width, height, stroke = (
        getattr(shapes, name)[order] for name in ("left", "top", "width", "height", "stroke")
    )
    bottom, right = top + height, left + width
    follows = np.full(len(left), -1)
    taken = np.zeros(len(left), bool)
    for index in range(len(left)):  # to each letter the next one to its right
        end = np.searchsorted(left, right[index] + GAP * height[index], side="right")
        near = np.arange(index + 1, end)
        ratio = height[near] / height[index]
        shared = np.minimum(bottom[near], bottom[index]) - np.maximum(top[near], top[index])
        fits = (ratio < ALIKE) & (ratio > 1 / ALIKE) & (shared > 0.5 * np.minimum(height[near], height[index]))
        fits &= (left[near] > left[index] + 0.5 * width[index]) & ~taken[near]
        if fits.any():
            follows[index] = near[fits][0]
            taken[near[fits][0]] = True
    covered = 0.0
    for first in np.flatnonzero(~taken):
        row = [int(first)]
        while follows[row[-1]] >= 0:
            row.append(int(follows[row[-1]]))
        if len(row) >= LETTERS and _is_written(left[row], top[row], bottom[row], stroke[row]):
            box = grey[int(top[row].min()) : int(bottom[row].max()), int(left[row[0]]) : int(right[row[-1]])]
            covered += box.size if _two_tones(box) >= TONES else 0
    return covered


def _is_written(
    left: NDArray[np.float64], top: NDArray[np.float64], bottom: NDArray[np.float64], stroke: NDArray[np.float64]
) -> bool:
    """Whether shapes in a row have feet or heads on a line, and ink of one width."""
    height = float(np.median(bottom - top))
    off = min(_off_line(left, bottom), _off_line(left, top)) / height
    uneven = float(np.median(np.abs(stroke - np.median(stroke)))) / float(np.median(stroke))
    return off <= LEVEL and uneven <= EVEN


def _two_tones(box: Pixels) -> float:
    """How much of the variance is between ink and paper, 0..1 (Otsu 1979): 0.64 of a bell curve, 1 of two tones."""
    values = box.astype(np.float32)
    level, _ = cv2.threshold(box, 0, 255, cv2.THRESH_BINARY + cv2.THRESH_OTSU)
    light = values > level
    share = float(light.mean())
    if share in (0.0, 1.0):
        return 0.0
    between = share * (1 - share) * float(values[light].mean() - values[~light].mean()) ** 2
    return between / float(values.var())


def _off_line(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """Mean distance of points from the line through most of them; descenders do not tilt it."""
    slope = float(np.median(np.diff(y) / np.maximum(np.diff(x), 1)))
    rest = y - slope * x
    return float(np.sort(np.abs(rest - np.median(rest)))[: max(3, round(0.75 * len(rest)))].mean())
