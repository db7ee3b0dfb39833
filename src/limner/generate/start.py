"""Where sampling starts: noise of two seeds mixed, and pictures encoded."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from limner.base.model import BaseModel
from limner.generate.canvas import Canvas
from limner.generate.pixels import encoded
from limner.generate.request import Init
from limner.sample import Start

NOT_ALL = 0.999  # strength 1 does every step, but begins where the first does
PARALLEL = 0.9995  # cosine above which two directions have no angle between them


def first_step(strength: float, steps: int) -> int:
    """How many of the steps are left out, as the webui counts: one more than `steps` times `strength` is done."""
    return steps - int(min(strength, NOT_ALL) * steps) - 1


def start(model: BaseModel, init: Init, canvas: Canvas, noise: Tensor, steps: int) -> Start:
    """Where a batch with this noise (batch, c, h, w) starts."""
    height, width = noise.shape[2:]
    given = [encoded(model, each) for each in canvas.pictures]
    if init.resize == "latent" and canvas.mask is None:
        given = [functional.interpolate(each, (height, width), mode="bilinear") for each in given]
    latents = torch.cat([given[number % len(given)] for number in range(len(noise))])
    mask = None if canvas.mask is None else _latent_mask(canvas.mask, (width, height)).to(latents)
    if mask is not None and init.fill in ("noise", "nothing"):
        latents = latents * (1 - mask)
        if init.fill == "noise":
            latents = latents + noise.to(latents) * mask
    return Start(latents, first_step(init.strength, steps), mask)


def _latent_mask(mask: Image.Image, size: tuple[int, int]) -> Tensor:
    """(1, 1, h, w) of 0 and 1: a latent is drawn anew or stays."""
    levels = np.asarray(mask.resize(size, Image.Resampling.BICUBIC), np.float32) / 255
    return torch.from_numpy(np.around(levels))[None, None]


def turned(noise: Tensor, other: Tensor, share: float) -> Tensor:
    """Noise (batch, c, h, w) turned by a share of the angle into another's direction, each column of each channel by
    itself, as in the webui (spherical interpolation, Shoemake 1985)."""
    one, two = (each / each.norm(dim=2, keepdim=True) for each in (noise, other))
    cosine = (one * two).sum(2, keepdim=True)
    if cosine.mean() > PARALLEL:
        return torch.lerp(noise, other, share)
    angle = cosine.clamp(-1, 1).acos()
    return (((1 - share) * angle).sin() * noise + (share * angle).sin() * other) / angle.sin()
