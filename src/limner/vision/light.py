"""Light and dark of what a picture shows, its plain background left out; and where that background is."""

from dataclasses import dataclass

import cv2
import numpy as np

from limner.vision.colours import edge_of
from limner.vision.pixels import Pixels
from limner.vision.region import Region

NEAR = 10  # levels of each channel by which a plain background may differ from its colour
LEAST_SHOWN = 0.0005  # of a picture; if less is not background, all of it is judged
BLACK, WHITE = 3, 252  # at most, at least: levels in which nothing more can be told apart
PALE = 225  # level from which on what surrounds a burnt-out place is pale too; around a white thing it is not
OUTLIERS = 1  # percent at each end; specks do not make a subject large


@dataclass(frozen=True)
class Light:
    """brightness and contrast: mean and deviation of the lightness of all of a picture, 0..1. burnt: the share of it
    that is white and fades into what surrounds it. black: the share of what is not plain background that is black.
    range: between which lightnesses all but 2% at each end of that lies, 0..1."""

    brightness: float
    contrast: float
    burnt: float
    black: float
    range: tuple[float, float]


def light_of(grey: Pixels, background: Pixels) -> Light:
    """background: a mask of grey's size, see background_of()."""
    shown = grey[background == 0]
    if shown.size < max(16, LEAST_SHOWN * grey.size):
        shown = grey.reshape(-1)
    dark, bright = np.percentile(shown, (2, 98))
    black = float((shown <= BLACK).mean())
    range_shown = float(dark) / 255, float(bright) / 255
    return Light(float(grey.mean()) / 255, float(grey.std()) / 255, _burnt(grey), black, range_shown)


def _burnt(grey: Pixels) -> float:
    white = cv2.compare(grey, np.array(WHITE, np.uint8), cv2.CMP_GE)
    around = cv2.subtract(cv2.dilate(white, np.ones((5, 5), np.uint8)), white)
    ring = grey[around > 0]
    fades = float((ring >= PALE).mean()) if ring.size else 1.0
    return float((white > 0).mean()) * fades


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
