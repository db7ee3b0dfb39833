"""Whether a picture looks like a screenshot."""

import cv2
import numpy as np

from limner.vision.pixels import Pixels, highest

# Pixels of screens that are common, shorter side first: phones, tablets, then desks. Photographs rarely have them.
PHONES = {
    (640, 1136), (720, 1280), (720, 1560), (720, 1600), (750, 1334), (828, 1792), (1080, 1920), (1080, 2160),
    (1080, 2220), (1080, 2240), (1080, 2280), (1080, 2310), (1080, 2316), (1080, 2340), (1080, 2376), (1080, 2388),
    (1080, 2400), (1080, 2408), (1080, 2412), (1080, 2460), (1080, 2520), (1125, 2436), (1170, 2532), (1179, 2556),
    (1206, 2622), (1220, 2712), (1224, 2700), (1240, 2772), (1242, 2208), (1242, 2688), (1260, 2800), (1284, 2778),
    (1290, 2796), (1320, 2868), (1344, 2992), (1440, 2560), (1440, 2880), (1440, 2960), (1440, 3040), (1440, 3088),
    (1440, 3120), (1440, 3200), (1536, 2048), (1620, 2160), (1640, 2360), (1668, 2224), (1668, 2388), (2048, 2732),
}  # fmt: skip
DESKS = {
    (768, 1024), (768, 1366), (800, 1280), (864, 1536), (900, 1440), (900, 1600), (1050, 1680), (1080, 1920),
    (1200, 1920), (1440, 2560), (1440, 3440), (1600, 2560), (1664, 2560), (1800, 2880), (1964, 3024), (2160, 3840),
}  # fmt: skip
STILL = 0.25  # of a screen's pixels that are just as those above and beside them: drawn, not photographed
BAR = 0.05  # of the height: where a screen's bar with the time is
EVEN = 0.6  # of that bar that must have its one colour


def is_screen(rgb: Pixels, size: tuple[int, int], lossless: bool, camera: bool) -> bool:
    """By a screen's size and areas that were drawn; where compression blurs those, by a bar at the top too.

    size: width and height of the file; rgb may be smaller. lossless: of the file's kind; phones and desks save PNG.
    """
    sides = (min(size), max(size))
    if camera or (sides not in PHONES and (sides not in DESKS or size[0] < size[1])):
        return False
    if lossless:
        return _still(rgb, 0) >= STILL
    if sides not in PHONES or size[0] > size[1]:
        return False
    bar = rgb[: max(2, round(BAR * rgb.shape[0]))]
    apart = np.abs(bar.astype(np.int16) - np.median(bar.reshape(-1, 3), axis=0)).max(axis=2)
    return _still(rgb, 1) >= STILL and float((apart <= 8).mean()) >= EVEN


def _still(rgb: Pixels, levels: int) -> float:
    """The share of pixels that differ by no more than some levels from those above and beside them."""
    beside = highest(cv2.absdiff(rgb[1:, 1:], rgb[1:, :-1]))
    above = highest(cv2.absdiff(rgb[1:, 1:], rgb[:-1, 1:]))
    return float((cv2.max(beside, above) <= levels).mean())
