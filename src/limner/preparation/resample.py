"""A view of a picture at its new size: resampled in linear light, where a mean of colours is the colour of the mean."""

import functools
import math

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.preparation.framing import Framing

LEVELS = 65535  # of linear light on the way back; a step is less than a tenth of one of sRGB's even in the dark
GAP = 3.0  # old pixels for each new one that are left to Lanczos; what is beyond is averaged before, in whole pixels


def resample(image: Image.Image, framing: Framing) -> Image.Image:
    """The view of an upright RGB picture, width x height, by Lanczos in linear light.

    Nothing outside the view colours it, so that a border that was cut away leaves no trace. A view that has its size
    already is copied.
    """
    view = _view(image, framing)
    if framing.is_whole:
        return view
    light = np.asarray(cv2.LUT(np.asarray(view), _to_light()), np.float32)
    return Image.fromarray(_to_levels()[np.rint(_resize(light, framing)).astype(np.uint16)])


def resample_mask(mask: Image.Image, framing: Framing) -> Image.Image:
    """The same view of a picture's mask of mode "L", whose values are shares and are averaged as such."""
    view = _view(mask, framing)
    return (
        view
        if framing.is_whole
        else view.resize((framing.width, framing.height), Image.Resampling.BOX, _inner(framing))
    )


def _view(image: Image.Image, framing: Framing) -> Image.Image:
    """All pixels that a view touches."""
    left, top, right, bottom = framing.box
    return image.crop((math.floor(left), math.floor(top), math.ceil(right), math.ceil(bottom)))


def _inner(framing: Framing) -> tuple[float, float, float, float]:
    """The box of a view in the pixels that _view gives."""
    left, top, right, bottom = framing.box
    across, down = math.floor(left), math.floor(top)
    return left - across, top - down, right - across, bottom - down


def _resize(light: NDArray[np.float32], framing: Framing) -> NDArray[np.float32]:
    """Linear light (height, width, 3), 0..LEVELS, at the view's new size."""
    left, top, right, bottom = _inner(framing)
    factor = math.floor((right - left) / framing.width / GAP)
    if factor > 1:
        height, width = light.shape[0] // factor, light.shape[1] // factor
        across, down = light.shape[1] / width, light.shape[0] / height
        light = np.asarray(cv2.resize(light, (width, height), interpolation=cv2.INTER_AREA), np.float32)
        left, top, right, bottom = left / across, top / down, min(right / across, width), min(bottom / down, height)
    channels = [
        Image.fromarray(channel).resize(
            (framing.width, framing.height), Image.Resampling.LANCZOS, (left, top, right, bottom)
        )
        for channel in cv2.split(light)
    ]
    return np.clip(np.stack([np.asarray(channel) for channel in channels], axis=2), 0, LEVELS)


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
