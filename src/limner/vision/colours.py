"""Colours by their names, as words in a caption that every base understands."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.vision.pixels import Pixels

# Named background colours, sRGB, as the pocket base learned them; the nearest one names a picture's.
COLOURS = {
    "white": (255, 255, 255),
    "black": (18, 18, 20),
    "gray": (140, 140, 145),
    "red": (214, 40, 45),
    "orange": (245, 140, 30),
    "yellow": (250, 215, 55),
    "green": (50, 160, 75),
    "blue": (45, 95, 215),
    "purple": (130, 60, 180),
    "pink": (250, 160, 195),
    "brown": (125, 80, 50),
    "teal": (40, 170, 170),
}
EDGE = 0.04  # of a side: the part at the edge in which a background is read
MOST = 0.6  # of the edge that must have the colour for the background to be called by it


def name_of(colour: NDArray[Any] | tuple[float, float, float]) -> str:
    """The name of the colour nearest to an sRGB one of 0..255."""
    return min(COLOURS, key=lambda name: float(((np.array(COLOURS[name]) - colour) ** 2).sum()))


def edge_of(rgb: NDArray[Any]) -> NDArray[Any]:
    """The pixels (n, channels) along the edge of a picture (height, width, channels); of a mask (n,)."""
    border = max(1, round(EDGE * min(rgb.shape[:2])))
    sides = rgb[:border], rgb[-border:], rgb[border:-border, :border], rgb[border:-border, -border:]
    return np.concatenate([side.reshape(-1, *rgb.shape[2:]) for side in sides])


def background_name(rgb: Pixels) -> str:
    """The name of a background's colour, "" if the edge is not mostly of one."""
    edge = edge_of(rgb).astype(np.float32)
    named = np.array(list(COLOURS.values()), np.float32)
    nearest = np.argmin((edge**2).sum(1)[:, None] - 2 * edge @ named.T + (named**2).sum(1), axis=1)
    shares = np.bincount(nearest, minlength=len(named)) / len(nearest)
    return list(COLOURS)[int(shares.argmax())] if shares.max() >= MOST else ""
