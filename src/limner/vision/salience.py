"""Where in a picture what stands out lies."""

import cv2
import numpy as np
from numpy.typing import NDArray

from limner.vision.colours import edge_of
from limner.vision.light import background_of, extent
from limner.vision.pixels import Pixels
from limner.vision.region import Region

PLAIN = 0.7  # of the edge; a background of one colour along so much of it shows the subject by itself
SIDE = 64  # pixels; the method sees objects as people do at this size (Hou and Zhang 2007)
KEPT = 0.04  # of what stands out is left outside at each side


def salient(rgb: Pixels, background: Pixels | None = None) -> Region | None:
    """The rectangle that holds most of what stands out; None if nothing does.

    Before a plain background that is what differs from it; else by the spectral residual (OpenCV's saliency).
    background: background_of(rgb), if it is known.
    """
    background = background_of(rgb) if background is None else background
    if float((edge_of(background) > 0).mean()) >= PLAIN:
        return extent(background)
    small = cv2.resize(rgb, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    done, found = cv2.saliency.StaticSaliencySpectralResidual.create().computeSaliency(small)
    if not done or not np.isfinite(found).all() or found.max() <= 0:
        return None
    weight = cv2.GaussianBlur(np.asarray(found, np.float32), (0, 0), 2)
    weight = np.maximum(weight - weight.mean(), 0)
    (left, right), (top, bottom) = (_ends(weight.sum(axis)) for axis in (0, 1))
    return Region(left, top, right, bottom)


def _ends(profile: NDArray[np.float32]) -> tuple[float, float]:
    """Between which shares of an axis all but KEPT at each end of a profile lies."""
    cumulated = np.concatenate([[0], profile.cumsum()]) / max(float(profile.sum()), 1e-9)
    places = np.linspace(0, 1, len(cumulated))
    return float(np.interp(KEPT, cumulated, places)), float(np.interp(1 - KEPT, cumulated, places))
