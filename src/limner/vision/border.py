"""Plain bars and frames around a picture, as of letterboxing, scans and screenshots."""

import cv2
import numpy as np

from limner.vision.pixels import Pixels

NEAR = 12  # levels by which a border's pixels may differ from its colour; compression blurs them
PLAIN = 0.985  # of a line that must have the border's colour
ABRUPT = 0.5  # of the first line after a border that must not: a subject before a plain background comes by and by
AFTER = 3  # lines in which it must have ended; a border's edge is rarely just between two pixels
CORNER = 0.015  # of the shorter side of what is framed, that its corners are looked at
MOST = 0.4  # of a side that a border may take
LEAST = 0.006  # of a side; at least two lines

Border = tuple[float, float, float, float]


def border_of(rgb: Pixels) -> Border:
    """Shares of the sides, left, top, right and bottom, that a plain border takes; 0 where there is none.

    A border's lines are of one colour from end to end, it ends along a straight line, and it is on opposite sides. A
    thing before a plain background is not bordered by that, unless it has straight edges on all sides.
    """
    high, wide = rgb.shape[:2]
    left = top = right = bottom = 0
    for _ in range(2):  # after the bars above and below are known, those beside are seen, and the other way round
        top, bottom = _bars(rgb[:, left : wide - right])
        left, right = _bars(rgb[top : high - bottom].transpose(1, 0, 2))
    if left and not top and not _reaches(rgb[:, left : wide - right], rgb[0, 0]):
        left = right = 0
    if top and not left and not _reaches(rgb[top : high - bottom].transpose(1, 0, 2), rgb[0, 0]):
        top = bottom = 0
    if left and top and _rounded(rgb[top : high - bottom, left : wide - right], rgb[0, 0]):
        return 0, 0, 0, 0
    return left / wide, top / high, right / wide, bottom / high


def _bars(rgb: Pixels) -> tuple[int, int]:
    """Lines of the bars above and below; none if there is one alone."""
    above, below = _lines(rgb), _lines(rgb[::-1])
    return (above, below) if above and below else (0, 0)


def _lines(rgb: Pixels) -> int:
    """How many lines from the first on are a border."""
    colour = np.median(rgb[0], axis=0)
    least, most = max(2, round(LEAST * len(rgb))), round(MOST * len(rgb))
    if _near(rgb[:least], colour).mean(axis=1).min() < PLAIN:  # as of most pictures
        return 0
    near = _near(rgb[: most + AFTER], colour).mean(axis=1)
    other = np.flatnonzero(near < PLAIN)
    if not len(other) or other[0] > most:
        return 0
    end = int(other[0])
    if near[end : end + AFTER].min() > 1 - ABRUPT:
        return 0
    return end + int(near[end : end + AFTER].argmin() > 0)


def _reaches(inner: Pixels, colour: Pixels) -> bool:
    """Whether what is between two bars reaches from end to end of them; a thing on plain ground does not."""
    return all(float(_near(line[None], colour).mean()) < 1 - ABRUPT for line in (inner[0], inner[-1]))


def _rounded(inner: Pixels, colour: Pixels) -> bool:
    """Whether the ground shows in all four corners of what is framed: a thing, not a picture."""
    side = max(3, round(CORNER * min(inner.shape[:2])))
    corners = [part[:, edge] for part in (inner[:side], inner[-side:]) for edge in (slice(side), slice(-side, None))]
    return all(float(_near(corner, colour).mean()) > ABRUPT for corner in corners)


def _near(rgb: Pixels, colour: Pixels) -> Pixels:
    low, high = np.clip(colour.astype(float) - NEAR, 0, 255), np.clip(colour.astype(float) + NEAR, 0, 255)
    return cv2.inRange(np.ascontiguousarray(rgb), low, high) / 255
