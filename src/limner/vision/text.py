"""Writing in a picture, found without weights: rows of like shapes that stand on one line."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from limner.vision.pixels import Pixels, fitted

SIDE = 800  # pixels, the longest, at which writing is looked for
AROUND = 25  # pixels with which a letter is compared
APART = 12  # levels that it must differ from them
HEIGHTS = (7, 0.13)  # of a letter: pixels, share of the picture
FILL = 0.12  # of its box that a letter's ink covers at least
WIDEST = 1.8  # times its height
CLEAR = 1.6  # deviations of ink and of paper by which they differ
ALIKE = 1.8  # a letter's height to its neighbour's
GAP = 1.3  # heights between a letter and the next
LETTERS = 5  # of a row at least
# Of the letters' height, as printed rows have them; rows of leaves, roof tiles and windows miss one or the other.
LEVEL = 0.03  # by which the feet, or the heads, of a row may lie off a line, on average
SPACE = 0.5  # between letters, at most
SPACED = 0.025  # by which these spaces vary, at least: the rungs of a ladder do not
EVEN = 0.18  # of the ink's width, by which it may vary in a row
VARIED = 0.12  # of the letters' mean width that they must vary by at least

Numbers = NDArray[Any]


@dataclass(frozen=True)
class _Shapes:
    """Boxes of connected ink: arrays (n,) of left, top, width, height in pixels, and the ink's mean width."""

    left: Numbers
    top: Numbers
    width: Numbers
    height: Numbers
    stroke: Numbers

    def __getitem__(self, which: Numbers) -> "_Shapes":
        return _Shapes(*(getattr(self, name)[which] for name in ("left", "top", "width", "height", "stroke")))


def text_share(grey: Pixels) -> float:
    """The share of a picture that rows of letters cover, 0..1; single short words and handwriting are missed."""
    grey = fitted(grey, SIDE)
    return min(1.0, sum(_rows(_shapes(paper)) for paper in (grey, 255 - grey)) / grey.size)


def _shapes(grey: Pixels) -> _Shapes:
    """What is darker than its surroundings, even in itself as they are, and of the size and shape of letters."""
    ink = cv2.adaptiveThreshold(grey, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY_INV, AROUND, APART)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=4, ltype=cv2.CV_32S)
    left, top, width, height, area = (stats[:, column].astype(float) for column in range(5))
    fits = (height >= HEIGHTS[0]) & (height <= HEIGHTS[1] * grey.shape[0]) & (width <= WIDEST * height)
    fits &= (area / (width * height) >= FILL) & (width >= 2)
    fits[0] = False  # the paper
    kept = np.flatnonzero(fits)
    numbers = np.zeros(count, np.float32)
    numbers[kept] = np.arange(1, len(kept) + 1)
    inked = numbers[labels]
    around = cv2.dilate(inked, np.ones((5, 5), np.uint8))
    near, own = around.astype(np.int32), inked.astype(np.int32)
    near[ink > 0] = 0
    mean, deviation = _spread(own, grey, len(kept))
    paper, uneven = _spread(near, grey, len(kept))
    clear = paper - mean >= CLEAR * (deviation + uneven)
    core = cv2.erode(ink, np.ones((3, 3), np.uint8))
    outline = np.bincount(own[(ink > 0) & (core == 0)], minlength=len(kept) + 1)[1:]
    stroke = 2 * area[kept] / np.maximum(outline, 1)
    return _Shapes(left[kept], top[kept], width[kept], height[kept], stroke)[clear]


def _spread(labels: Numbers, grey: Pixels, count: int) -> tuple[Numbers, Numbers]:
    """Mean and deviation of the pixels that each of the labels 1 to count has."""
    where = labels > 0
    which, values = labels[where], grey[where].astype(np.float64)
    number = np.maximum(np.bincount(which, minlength=count + 1)[1:], 1)
    mean = np.bincount(which, values, count + 1)[1:] / number
    square = np.bincount(which, values**2, count + 1)[1:] / number
    return mean, np.sqrt(np.maximum(square - mean**2, 0))


def _rows(shapes: _Shapes) -> float:
    """Pixels that the rows among shapes cover."""
    shapes = shapes[np.argsort(shapes.left, kind="stable")]
    right = shapes.left + shapes.width
    follows = _followers(shapes)
    covered = 0.0
    for first in np.setdiff1d(np.arange(len(right)), follows):
        row = [int(first)]
        while follows[row[-1]] >= 0:
            row.append(int(follows[row[-1]]))
        if len(row) >= LETTERS and _is_written(shapes[np.array(row)]):
            covered += float((right[row[-1]] - shapes.left[row[0]]) * np.median(shapes.height[row]))
    return covered


def _followers(shapes: _Shapes) -> Numbers:
    """For each of shapes, sorted from the left, the one that is most like the next letter of its row; -1 for none."""
    left, top, width, height = shapes.left, shapes.top, shapes.width, shapes.height
    bottom = top + height
    follows = np.full(len(left), -1)
    taken = np.zeros(len(left), bool)
    ends = np.searchsorted(left, left + width + GAP * height, side="right")
    for index in range(len(left)):
        near = np.arange(index + 1, ends[index])
        ratio = height[near] / height[index]
        shared = np.minimum(bottom[near], bottom[index]) - np.maximum(top[near], top[index])
        fits = (ratio < ALIKE) & (ratio > 1 / ALIKE) & (shared > 0.5 * np.minimum(height[near], height[index]))
        fits &= (left[near] > left[index] + 0.5 * width[index]) & ~taken[near]
        if fits.any():
            off = np.minimum(abs(bottom[near] - bottom[index]), abs(top[near] - top[index]))
            cost = np.where(fits, off + 0.5 * (left[near] - left[index] - width[index]), np.inf)
            follows[index] = near[int(cost.argmin())]
            taken[follows[index]] = True
    return follows


def _is_written(row: _Shapes) -> bool:
    """Whether shapes in a row are set as letters are."""
    height, stroke = float(np.median(row.height)), float(np.median(row.stroke))
    off = min(_off_line(row.left, row.top + row.height), _off_line(row.left, row.top))
    uneven = float(np.median(np.abs(row.stroke - stroke)))
    spaces = row.left[1:] - (row.left + row.width)[:-1]
    if off > LEVEL * height or uneven > EVEN * stroke:
        return False
    if float(np.median(spaces)) > SPACE * height or float(spaces.std()) < SPACED * height:
        return False
    return float(row.width.std()) >= VARIED * float(row.width.mean())


def _off_line(x: Numbers, y: Numbers) -> float:
    """Mean distance of points from the line through most of them; descenders do not tilt it."""
    slope = float(np.median(np.diff(y) / np.maximum(np.diff(x), 1)))
    rest = y - slope * x
    return float(np.sort(np.abs(rest - np.median(rest)))[: max(3, round(0.75 * len(rest)))].mean())
