"""Colours of one picture fitted to those of another that it was laid on, and where what is left is too much."""

import cv2
import numpy as np
from numpy.typing import NDArray

CELL = 8  # pixels of a square that agrees or not
UNSEEN = 0.001  # squared error of a pixel, over its channels in 0..1, that nobody sees
GREYISH = 0.025  # mean difference of a pixel's largest and smallest channel, below which a picture is taken for grey

Colours = NDArray[np.float32]


def fit_colours(laid: Colours, below: Colours) -> tuple[Colours, float] | None:
    """Squared error of each pixel (n,) once one picture's colours are fitted to the other's, and the share of the
    variance that is explained, in the better 85% of pixels. None if no change of colours that a person would make
    does it.

    Such changes are a curve for each channel, a mixture in which each channel keeps the largest part, or grey.
    """
    if np.square(laid - laid.mean(0)).sum() < np.square(below - below.mean(0)).sum():
        laid, below = below, laid  # what has less contrast can be made of what has more
    grey = np.array([0.299, 0.587, 0.114], np.float32)
    if min(np.ptp(each, axis=1).mean() for each in (laid, below)) < GREYISH:
        laid, below = (laid @ grey)[:, None], (below @ grey)[:, None]
    best = None
    for mixed in (False, True):
        found = _fitted(laid, below, mixed)
        if found is not None and (best is None or found[1] > best[1]):
            best = found
    return best


def _fitted(laid: Colours, below: Colours, mixed: bool) -> tuple[Colours, float] | None:
    channels = laid.shape[1]
    good = np.ones(len(laid), bool)
    error = np.zeros(len(laid), np.float32)
    for _ in range(3):
        if mixed:
            terms = np.c_[laid, np.ones(len(laid), np.float32)]
            found = _solve(terms[good], below[good], np.eye(channels + 1, channels, dtype=np.float32))
            strongest = np.abs(found[:channels]).argmax(0)
            if (strongest != np.arange(channels)).any() or (found.diagonal() < 0).any():
                return None
            guess = terms @ found
        else:
            columns = []
            for channel in range(channels):
                values = laid[:, channel]
                terms = np.stack([values, np.square(values), np.ones_like(values)], 1)
                start = np.array([[1.0], [0.0], [0.0]], np.float32)
                curve = _solve(terms[good], below[good, channel : channel + 1], start)
                slopes = curve[0, 0] + 2 * curve[1, 0] * np.quantile(values, (0.1, 0.9))
                if (slopes < -0.1).any():
                    return None  # it would turn light into dark
                columns.append(terms @ curve)
            guess = np.concatenate(columns, 1)
        error = np.square(np.clip(guess, 0, 1) - below).sum(1)
        good = error <= np.quantile(error, 0.85)
    variance = float(np.square(below[good] - below[good].mean(0)).sum())
    return error, 1 - float(error[good].sum()) / max(variance, 1e-6)


def _solve(terms: Colours, values: Colours, start: Colours) -> Colours:
    """Least squares, kept near `start` where the colours are too few to tell."""
    pull = 1e-3 * len(terms) * np.eye(terms.shape[1], dtype=np.float32)
    return np.linalg.solve(terms.T @ terms + pull, terms.T @ values + pull @ start).astype(np.float32)


def agreeing(error: Colours, below: Colours, meeting: NDArray[np.bool_]) -> float:
    """The share of cells whose error is small beside what they show, or too small to be seen."""
    spread = np.zeros(meeting.shape, np.float32)
    spread[meeting] = error
    weight = cv2.boxFilter(meeting.astype(np.float32), -1, (CELL, CELL))
    shown = np.where(meeting[..., None], below, 0).astype(np.float32)
    means = cv2.boxFilter(shown, -1, (CELL, CELL)) / np.maximum(weight, 1e-3)[..., None]
    squares = cv2.boxFilter(np.square(shown), -1, (CELL, CELL)) / np.maximum(weight, 1e-3)[..., None]
    detail = np.maximum(0, squares - np.square(means)).sum(-1)
    errors = cv2.boxFilter(spread, -1, (CELL, CELL)) / np.maximum(weight, 1e-3)
    centres = np.zeros(meeting.shape, bool)
    centres[CELL // 2 :: CELL // 2, CELL // 2 :: CELL // 2] = True
    counted = centres & (weight > 0.5)
    if not counted.any():
        return 0.0
    return float(np.mean(errors[counted] < 0.2 * detail[counted] + UNSEEN))
