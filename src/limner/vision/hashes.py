"""Perceptual hashes: pictures that look alike have hashes that differ in few bits."""

import cv2

from limner.vision.pixels import Pixels, grey_of

SIDE = 64  # pixels; OpenCV itself would take every nth pixel of a large picture, which depends on its size


def phash(rgb: Pixels) -> str:
    """64 bits in hex of a picture's lowest frequencies (Zauner 2010; OpenCV's img_hash)."""
    small = cv2.resize(grey_of(rgb), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return cv2.img_hash.pHash(small).tobytes().hex()


def distance(one: str, other: str) -> int:
    """Bits, 0..64, in which two hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()
