"""Light and dark of what a picture shows, its plain background left out; and where that background is."""

from dataclasses import dataclass

import cv2
import numpy as np

from limner.vision.colours import edge_of
from limner.vision.pixels import Pixels, grey_of, highest
from limner.vision.region import Region

NEAR = 10  # levels of each channel by which a plain background may differ from its colour
LEAST_SHOWN = 0.0005  # of a picture; if less is not background, all of it is judged
BLACK, WHITE = 3, 254  # at most, at least: levels at which a channel's end is reached
OUTSIDE = 0.02  # of what is shown, at each end, that its range leaves out
OUTLIERS = 1  # percent at each end; specks do not make a subject large


@dataclass(frozen=True)
class Light:
    """brightness and contrast: mean and deviation of the lightness of all of a picture, 0..1. Of what is not plain
    background: burnt, the share of it where a channel is at its top, flat areas aside, which were drawn so; black, the
    share all black; range, between which lightnesses all but 2% at each end lie, 0..1."""

    brightness: float
    contrast: float
    burnt: float
    black: float
    range: tuple[float, float]


def light_of(rgb: Pixels, background: Pixels) -> Light:
    """background: a mask of the picture's size, see background_of()."""
    grey = grey_of(rgb)
    shown = cv2.bitwise_not(background)
    if cv2.countNonZero(shown) < max(16, LEAST_SHOWN * grey.size):
        shown = np.full_like(grey, 255)
    levels = cv2.calcHist([grey], [0], shown, [256], [0, 256])[:, 0].cumsum()
    levels /= levels[-1]
    dark, bright = (float(np.searchsorted(levels, share)) / 255 for share in (OUTSIDE, 1 - OUTSIDE))
    beside = cv2.absdiff(rgb, cv2.copyMakeBorder(rgb[:, 1:], 0, 0, 0, 1, cv2.BORDER_REPLICATE))
    burnt = (highest(rgb) >= WHITE) & (highest(beside) > 0) & (shown > 0)
    mean, deviation = cv2.meanStdDev(grey)
    return Light(
        float(mean[0, 0]) / 255,
        float(deviation[0, 0]) / 255,
        int(burnt.sum()) / cv2.countNonZero(shown),
        float(levels[BLACK]),
        (dark, bright),
    )


def background_of(rgb: Pixels) -> Pixels:
    """A mask, 255 where a plain background of one colour reaches in from the edge; all 0 if the edge is not plain."""
    colour = np.median(edge_of(rgb), axis=0).astype(np.uint8)
    padded = cv2.copyMakeBorder(rgb, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=tuple(int(each) for each in colour))
    mask = np.zeros((padded.shape[0] + 2, padded.shape[1] + 2), np.uint8)
    flags = 4 | 255 << 8 | cv2.FLOODFILL_FIXED_RANGE | cv2.FLOODFILL_MASK_ONLY
    cv2.floodFill(padded, mask, (0, 0), (0, 0, 0), (NEAR,) * 3, (NEAR,) * 3, flags)
    return np.ascontiguousarray(mask[2:-2, 2:-2])


def extent(mask: Pixels) -> Region | None:
    """Where what a mask does not cover lies, specks aside; None if it covers all."""
    rows, columns = np.nonzero(mask == 0)
    if not len(rows):
        return None
    (top, bottom), (left, right) = (np.percentile(each, (OUTLIERS, 100 - OUTLIERS)) for each in (rows, columns))
    high, wide = mask.shape
    return Region(float(left / wide), float(top / high), float((right + 1) / wide), float((bottom + 1) / high))
