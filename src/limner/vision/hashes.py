"""Perceptual hashes: pictures that look alike have hashes that differ in few bits."""

import cv2
import numpy as np

from limner.vision.pixels import Pixels, grey_of

TURNS = 7  # besides as it is
SIDE = 64  # pixels; OpenCV itself would take every nth pixel of a large picture, which depends on its size


def phashes(rgb: Pixels) -> list[str]:
    """64 bits in hex of a picture's lowest frequencies (Zauner 2010; OpenCV's img_hash), as it is and in the TURNS
    other ways of turning it by quarters and mirroring it.

    A hash says nothing of such a copy, so that one is looked for by what its hash would be.
    """
    small = _small(rgb)
    turned = (np.rot90(each, quarters) for each in (small, small[:, ::-1]) for quarters in range(4))
    return [_hash(np.ascontiguousarray(each)) for each in turned]


def _small(rgb: Pixels) -> Pixels:
    return cv2.resize(grey_of(rgb), (SIDE, SIDE), interpolation=cv2.INTER_AREA)


def _hash(small: Pixels) -> str:
    return cv2.img_hash.pHash(small).tobytes().hex()


def distance(one: str, other: str) -> int:
    """Bits, 0..64, in which two hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()
