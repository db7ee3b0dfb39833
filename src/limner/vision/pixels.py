"""Pixels as OpenCV takes them: uint8, (height, width, 3) in the order red, green, blue, or (height, width) of grey."""

from typing import Any

import cv2
from numpy.typing import NDArray

NEARLY = 0.6  # times its sides, down to which two pixels across are enough to make one, in a tenth of the time
Pixels = NDArray[Any]  # OpenCV's own types are wider than what it returns


def grey_of(rgb: Pixels) -> Pixels:
    """Lightness, weighted as in BT.601."""
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)


def fitted(pixels: Pixels, longest: int) -> Pixels:
    """A picture whose longer side is brought down to `longest` pixels; itself if it is not longer."""
    scale = longest / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    way = cv2.INTER_LINEAR if scale > NEARLY else cv2.INTER_AREA
    return cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=way)


def highest(rgb: Pixels) -> Pixels:
    """Each pixel's highest channel; as rgb.max(axis=2), many times as fast."""
    red, green, blue = cv2.split(rgb)
    return cv2.max(cv2.max(red, green), blue)
