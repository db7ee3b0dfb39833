"""How much detail a picture really has: its sharpest edges, traces of enlargement, noise, the grid of a JPEG."""

from collections.abc import Iterator
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from limner.vision.pixels import Pixels

TILES = 8  # a side; what is sharp in one corner is judged there, whatever the rest is
REACH = 15  # pixels within which an edge is climbed
LOW = 40  # levels of 0..255 that something must climb within REACH to be an edge, and three times the noise at least
FEWEST = 20  # pixels of edges in a tile
SHARPEST = 0.95  # quantile of a tile's edges
HALVINGS = 3  # at most: very blurred edges are longer than REACH
CLEAN = 0.45  # share of an edge's height that a sharp photograph climbs in one pixel; 1 is a drawing without smoothing


def sharpness(grey: Pixels, noise: float) -> float:
    """The sharpness of a picture's sharpest parts, 0..1: 1 if its edges are as steep as its pixels can show.

    Of an edge, what counts is the share of its height climbed from one pixel to the next, along rows and along
    columns; the lower of the two, for a shaken picture is sharp along one direction. A background out of focus takes
    nothing off.
    """
    low = max(LOW, round(12 * noise))
    for least in (low, low // 2):  # in fog, every edge is faint
        found = [_slope(each, least) for each in (grey, np.ascontiguousarray(grey.T))]
        slopes = [slope / CLEAN for slope in found if slope is not None]
        if slopes:
            return min([1.0, *slopes])
    return 1.0  # there is no edge whose sharpness could be told


def _slope(grey: Pixels, low: int) -> float | None:
    """The steepest slopes along rows, of pixels of the size given, at the first size at which there are edges."""
    scale = 1.0
    for _ in range(HALVINGS + 1):
        found = _steepest(grey, low)
        if found is not None:
            return found * scale
        if min(grey.shape) < 4 * REACH:
            break
        grey, scale = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA), scale / 2
    return None


def _steepest(grey: Pixels, low: int) -> float | None:
    """Mean of the steepest slopes of the sharpest eighth of the tiles, along rows; None if there are no edges."""
    row = np.ones((1, REACH), np.uint8)
    height = cv2.subtract(cv2.dilate(grey, row), cv2.erode(grey, row))[:, 1:]
    step = cv2.absdiff(grey[:, 1:], grey[:, :-1])
    slope = cv2.divide(step, height, scale=255)
    edges = cv2.compare(height, np.array(min(low, 255), np.uint8), cv2.CMP_GE)
    found = []
    for tile in _tiles(*grey.shape):
        counts = cv2.calcHist([slope[tile]], [0], edges[tile], [256], [0, 256])[:, 0].cumsum()
        if counts[-1] >= FEWEST:
            found.append(int(np.searchsorted(counts, SHARPEST * counts[-1])) / 255)
    found.sort(reverse=True)
    best = found[: max(1, len(found) // TILES)]
    return sum(best) / len(best) if best else None


def _tiles(high: int, wide: int) -> Iterator[tuple[slice, slice]]:
    rows, columns = np.linspace(0, high, TILES + 1).astype(int), np.linspace(0, wide, TILES + 1).astype(int)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield slice(top, bottom), slice(left, right)


def noise_of(grey: Pixels) -> float:
    """Deviation, 0..255, of the noise in the quietest fifth of a picture (Immerkær 1996)."""
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    rest = np.abs(cv2.filter2D(grey, cv2.CV_32F, kernel))
    means = sorted(float(rest[tile].mean()) for tile in _tiles(*grey.shape) if rest[tile].size)
    return means[len(means) // 5] * float(np.sqrt(np.pi / 2)) / 6


PERIODS = 2048  # of the spectrum
LONGEST = 8.3  # pixels between two of the enlarged picture's own; beyond, its slope says enough
TRACE = 4.5  # times the spectrum around it; of pictures that were not enlarged it rarely passes 3
HIGHEST = 12  # levels; that edges on a line of the grid do not count for more than blocks do
STILL = 0.3  # levels; added to what hides the grid, that a drawing's few edges are not over nothing
STEEPEST = 20  # levels; that a few strong edges do not drown the rest


def enlargement(grey: Pixels, sharp: float) -> float:
    """How many times a picture's sides were enlarged by interpolation, 1 if no trace of that is found.

    Interpolated pixels vary less the farther they are from the original ones, so second differences have a period
    (Gallagher 2005); it is sought along rows and columns at once. Multiples of 1/8 are a JPEG's and are passed over, so
    that factors of just 2 and 4 leave no trace. sharp: see sharpness(); it tells which of the factors it is that a
    period can stand for, and what is sharp was not enlarged.
    """
    if sharp >= 1 or min(grey.shape) < 64:
        return 1.0
    levels = grey.astype(np.float32)
    across = np.abs(2 * levels[:, 1:-1] - levels[:, 2:] - levels[:, :-2])
    down = np.abs(2 * levels[1:-1] - levels[2:] - levels[:-2])
    spectrum = np.sqrt(_peaks(np.minimum(across, STEEPEST).mean(0)) * _peaks(np.minimum(down, STEEPEST).mean(1)))
    frequency = np.arange(len(spectrum)) / PERIODS
    spectrum[frequency < 1 / LONGEST] = 0
    for eighths in (1, 2, 3, 4):
        spectrum[np.abs(frequency - eighths / 8) < 0.006] = 0
    highest = int(spectrum.argmax())
    if spectrum[highest] < TRACE:
        return 1.0
    found = frequency[highest]
    expected = 1.25 * sharp**-1.9  # of bicubic enlargements of sharp photographs
    # A factor f shows at 1/f or what that is folded to, or at twice that.
    factors = [1 / each for each in (found, 1 - found, found / 2, (1 - found) / 2) if each > 0]
    return float(min(factors, key=lambda factor: abs(np.log(factor / expected))))


def _peaks(profile: NDArray[np.float32]) -> NDArray[np.float32]:
    """The spectrum of a profile, each value over the median of those around it."""
    flat = profile - cv2.blur(profile[None], (15, 1))[0]
    spectrum = np.abs(np.fft.rfft(flat * np.hanning(len(flat)), PERIODS)).astype(np.float32)
    near = 75
    padded = np.pad(spectrum, near, mode="reflect")
    medians = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * near + 1)[:, ::5], axis=1)
    return (spectrum / np.maximum(medians, 1e-6)).astype(np.float32)


def blocks_of(grey: Pixels) -> float:
    """How clearly the 8x8 grid of a JPEG stands out, wherever it begins, of pixels that were not scaled since.

    By how much the steps across the grid's lines are higher than those beside them, over the root of the steps
    elsewhere, which hide it; the lower of rows and columns. Photographs of quality 90 have 0.1 to 0.7, of 40 1.4, of 8
    from 1.1 to 4.
    """
    if min(grey.shape) < 64:
        return 0.0
    return max(0.0, min(_grid(grey), _grid(np.ascontiguousarray(grey.T))))


def _grid(grey: Pixels) -> float:
    step = cv2.absdiff(grey[:, 1:], grey[:, :-1]).astype(np.int16)
    beside = (step[:, :-2] + step[:, 2:]) // 2
    excess = np.clip(step[:, 1:-1] - beside, -HIGHEST, HIGHEST).mean(0)
    busy = np.minimum(step[:, 1:-1], HIGHEST).mean(0)
    phases = np.array([excess[phase::8].mean() for phase in range(8)])
    highest = int(phases.argmax())
    elsewhere = np.median([busy[phase::8].mean() for phase in range(8) if phase != highest])
    return float((phases[highest] - np.median(np.delete(phases, highest))) / np.sqrt(elsewhere + STILL))
