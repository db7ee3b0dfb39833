"""Perceptual hashes: pictures that look alike have hashes that differ in few bits."""

import cv2
import numpy as np
from PIL import Image


def phash(image: Image.Image) -> str:
    """64 bits in hex of a picture's lowest frequencies (Zauner 2010; OpenCV's img_hash)."""
    return cv2.img_hash.pHash(np.asarray(image.convert("L"))).tobytes().hex()


def distance(one: str, other: str) -> int:
    """Bits, 0..64, in which two hashes differ."""
    return (int(one, 16) ^ int(other, 16)).bit_count()
