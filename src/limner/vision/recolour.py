"""Whether a picture that is laid on another shows the same there, once its colours are fitted to the other's."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

CELL = 8  # pixels of a square that agrees or not
UNSEEN = 0.001  # squared error of a pixel, over its channels in 0..1, that nobody sees
LEFT = 0.2  # share of a cell's variance that may be left of the difference
DETAIL = 0.003  # variance in a cell of what shows something
FEWEST = 6  # cells that show something, fewer of which tell nothing
SOFT = 0.8  # pixels, the deviation of the blur in which pictures are compared
GREYISH = 0.025  # mean difference of a pixel's largest and smallest channel, below which a picture is taken for grey
BETTER = 0.85  # share of pixels to which colours are fitted, for words may be laid over the others
GREY = np.array([0.299, 0.587, 0.114], np.float32)

Colours = NDArray[np.float32]  # channels in 0..1
Where = NDArray[np.bool_]


@dataclass(frozen=True)
class Agreement:
    """Shares of cells that agree: of all where the pictures meet, and of those where either shows something."""

    all: float
    detailed: float


def agreement(laid: Colours, below: Colours, meeting: Where) -> Agreement | None:
    """How well (height, width, 3) pictures agree where they meet.

    None if there is too little to see, or if no change of colours that a person would make turns one into the other:
    a curve for each channel, a mixture in which each channel keeps the largest part, or grey.
    """
    if min(np.ptp(each[meeting], axis=1).mean() for each in (laid, below)) < GREYISH:
        laid, below = ((each @ GREY)[..., None] for each in (laid, below))
    # What is finer than a pixel or two is lost to some edits, and to having been laid here.
    laid, below = (cv2.GaussianBlur(each, (0, 0), SOFT).reshape(each.shape) for each in (laid, below))
    weight = cv2.boxFilter(meeting.astype(np.float32), -1, (CELL, CELL))
    details = [_detail(each, meeting, weight) for each in (laid, below)]
    shown = np.maximum(*details) > DETAIL
    counted = np.zeros(meeting.shape, bool)
    counted[CELL // 2 :: CELL // 2, CELL // 2 :: CELL // 2] = True
    counted &= weight > 0.5
    if (counted & shown).sum() < FEWEST:
        return None
    given, wanted, detail = laid, below, details[1]
    if details[0][shown].sum() < details[1][shown].sum():  # what has less contrast can be made of what has more
        given, wanted, detail = below, laid, details[0]
    error = _error(given, wanted, meeting, meeting & shown)
    if error is None:
        return None
    errors = cv2.boxFilter(np.where(meeting, error, 0).astype(np.float32), -1, (CELL, CELL)) / np.maximum(weight, 1e-3)
    agreeing = errors < LEFT * detail + UNSEEN
    return Agreement(float(agreeing[counted].mean()), float(agreeing[counted & shown].mean()))


def _detail(colours: Colours, meeting: Where, weight: Colours) -> Colours:
    """Variance around each pixel, over its channels, of what is in the meeting."""
    shown = np.where(meeting[..., None], colours, 0).astype(np.float32)
    weight = np.maximum(weight, 1e-3)
    means, squares = (_boxed(each) / weight[..., None] for each in (shown, np.square(shown)))
    return np.maximum(0, squares - np.square(means)).sum(-1)


def _boxed(values: Colours) -> Colours:
    boxed = cv2.boxFilter(values, -1, (CELL, CELL))
    return np.asarray(boxed, np.float32).reshape(values.shape)  # OpenCV drops a single channel


def _error(given: Colours, wanted: Colours, meeting: Where, fitted: Where) -> Colours | None:
    """Squared error of each pixel once the given colours are fitted to the wanted ones, by the better of two ways."""
    best, least = None, np.inf
    for guess in (_by_curves(given, wanted, fitted), _by_mixture(given, wanted, fitted)):
        if guess is not None:
            error = np.square(np.clip(guess, 0, 1) - wanted).sum(-1)
            left = float(np.sort(error[fitted])[: int(BETTER * fitted.sum())].sum())
            if left < least:
                best, least = error, left
    return best


def _by_curves(given: Colours, wanted: Colours, fitted: Where) -> Colours | None:
    """A parabola for each channel; None if one would turn light into dark."""
    columns = []
    for channel in range(given.shape[-1]):
        values = given[..., channel]
        terms = np.stack([values, np.square(values), np.ones_like(values)], -1)
        start = np.array([[1.0], [0.0], [0.0]], np.float32)
        curve = _solve(terms[fitted], wanted[fitted][:, channel, None], start)
        slopes = curve[0, 0] + 2 * curve[1, 0] * np.quantile(values[fitted], (0.1, 0.9))
        if (slopes < -0.1).any():
            return None
        columns.append(terms @ curve)
    return np.concatenate(columns, -1)


def _by_mixture(given: Colours, wanted: Colours, fitted: Where) -> Colours | None:
    """Each channel made of all; None if one would be made of another more than of itself."""
    channels = given.shape[-1]
    terms = np.concatenate([given, np.ones_like(given[..., :1])], -1)
    found = _solve(terms[fitted], wanted[fitted], np.eye(channels + 1, channels, dtype=np.float32))
    strongest = np.abs(found[:channels]).argmax(0)
    if (strongest != np.arange(channels)).any() or (found.diagonal() < 0).any():
        return None
    return terms @ found


def _solve(terms: Colours, values: Colours, start: Colours) -> Colours:
    """Least squares on the better pixels, kept near `start` where the colours are too few to tell."""
    good = np.ones(len(terms), bool)
    found = start
    for _ in range(3):
        some = terms[good]
        pull = 1e-3 * len(some) * np.eye(terms.shape[1], dtype=np.float32)
        found = np.linalg.solve(some.T @ some + pull, some.T @ values[good] + pull @ start).astype(np.float32)
        error = np.square(terms @ found - values).sum(1)
        good = error <= np.quantile(error, BETTER)
    return found
