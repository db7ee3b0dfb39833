"""A view of a picture at its new size: by Lanczos in linear light, where a mean of colours is the colour of their mean.

Pillow's and OpenCV's resizing see sRGB's levels, of which the mean is too dark: black and white in turn become 128, not
the 188 that shows half the light. Here each level becomes light by a table, is filtered in float32, and goes back by
another. The picture is taken in tiles that fit the processor's caches. Sums are taken in the same order on any number
of threads (no BLAS), so that a picture is the same bit for bit.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.preparation.framing import Framing

Rows = NDArray[Any]  # float32
Taps = Sequence[tuple[int, Rows]]

LEVELS = 65535  # of linear light on the way back; a step is less than a tenth of one of sRGB's even in the dark
LOBES = 3  # of Lanczos, on each side
STRIP = 32  # rows of the new picture that are made from one strip of the old
TILE = 1024  # columns of a strip that are worked on at a time


def resample(image: Image.Image, framing: Framing) -> Image.Image:
    """The view of an upright RGB picture, width x height, by Lanczos in linear light.

    Nothing outside the view colours it, so that a border that was cut away leaves no trace. A view that has its size
    already is copied.
    """
    if framing.is_whole:
        return image.crop(_touched(framing))
    return Image.fromarray(_to_levels()[np.rint(_light(image, framing)).astype(np.uint16)])


def resample_mask(mask: Image.Image, framing: Framing) -> Image.Image:
    """The same view of a picture's mask of mode "L", whose values are shares and are averaged as such."""
    view = mask.crop(_touched(framing))
    if framing.is_whole:
        return view
    kind = Image.Resampling.BOX if framing.enlargement < 1 else Image.Resampling.BILINEAR
    return view.resize((framing.width, framing.height), kind, _inner(framing))


def _touched(framing: Framing) -> tuple[int, int, int, int]:
    """The box of all pixels that a view touches."""
    left, top, right, bottom = framing.box
    return math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)


def _inner(framing: Framing) -> tuple[float, float, float, float]:
    """The box of a view in the pixels that it touches."""
    left, top, right, bottom = framing.box
    across, down = math.floor(left), math.floor(top)
    return left - across, top - down, right - across, bottom - down


def _light(image: Image.Image, framing: Framing) -> Rows:
    """Linear light of a view at its new size, float32 (height, width, 3), 0..LEVELS."""
    touched = _touched(framing)
    left, top, right, bottom = _inner(framing)
    width, height = touched[2] - touched[0], touched[3] - touched[1]
    shorter = _shorter(image, touched, _lanczos(top, bottom, height, framing.height))
    # Columns as rows, so that both ways read whole rows of memory.
    columns = np.asarray(cv2.transpose(shorter)).reshape(width, -1)
    found = np.empty((framing.width, framing.height * 3), np.float32)
    _weigh(columns, _lanczos(left, right, width, framing.width), found)
    return np.clip(cv2.transpose(found.reshape(framing.width, framing.height, 3)), 0, LEVELS)


def _shorter(image: Image.Image, box: tuple[int, int, int, int], taps: Taps) -> Rows:
    """Linear light of a box, filtered along its columns alone: float32 (taps, the box's width, 3)."""
    left, top, right, _ = box
    rows = np.empty((len(taps), (right - left) * 3), np.float32)
    for first in range(0, len(taps), STRIP):
        some = taps[first : first + STRIP]
        begin, end = some[0][0], max(start + len(weights) for start, weights in some)
        moved = [(start - begin, weights) for start, weights in some]
        for across in range(left, right, TILE):
            tile = image.crop((across, top + begin, min(across + TILE, right), top + end))
            light = np.asarray(cv2.LUT(np.asarray(tile), _to_light())).reshape(end - begin, -1)
            start = (across - left) * 3
            _weigh(light, moved, rows[first : first + STRIP, start : start + light.shape[1]])
    return rows.reshape(len(taps), right - left, 3)


def _weigh(rows: Rows, taps: Taps, out: Rows) -> None:
    """Each row of `out` becomes the weighted sum of the rows from a start on."""
    for index, (start, weights) in enumerate(taps):
        np.einsum("t,tk->k", weights, rows[start : start + len(weights)], out=out[index])


def _lanczos(begin: float, end: float, size: int, count: int) -> Taps:
    """For `count` new pixels between two places on a side of `size` old ones: the first that counts, and the weights.

    The filter is as wide as a new pixel where the side becomes shorter, as an old one where it becomes longer, and
    is cut off at the ends of the side; weights sum to 1.
    """
    scale = (end - begin) / count
    width = max(scale, 1.0)
    centres = begin + (np.arange(count) + 0.5) * scale
    first = np.maximum(0, np.floor(centres - LOBES * width + 0.5)).astype(int)
    last = np.minimum(size, np.floor(centres + LOBES * width + 0.5)).astype(int)
    places = first[:, None] + np.arange(max(last - first))
    away = (places + 0.5 - centres[:, None]) / width
    weights = np.where((np.abs(away) < LOBES) & (places < last[:, None]), np.sinc(away) * np.sinc(away / LOBES), 0)
    weights = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return [(int(start), row[: end - start]) for start, end, row in zip(first, last, weights, strict=True)]


@functools.cache
def _to_light() -> NDArray[np.float32]:
    """Linear light, 0..LEVELS, of sRGB's 256 levels (IEC 61966-2-1)."""
    value = np.arange(256) / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return (light * LEVELS).astype(np.float32)


@functools.cache
def _to_levels() -> NDArray[np.uint8]:
    """The nearest of sRGB's 256 levels of linear light 0..LEVELS."""
    light = np.arange(LEVELS + 1) / LEVELS
    value = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(value * 255).astype(np.uint8)
