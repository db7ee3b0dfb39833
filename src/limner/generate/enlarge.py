"""Between two passes, the webui's "hires fix": what the first drew is made larger, and the second starts from it."""

import torch
from torch import Tensor
from torch.nn import functional

from limner.base.model import BaseModel
from limner.generate.pixels import decoded, encoded
from limner.generate.request import Hires
from limner.generate.start import NOT_ALL
from limner.upscalers import LATENT, enlarged

Size = tuple[int, int]


def sizes(hires: Hires, first: Size, factor: int) -> tuple[Size, Size]:
    """Width and height in pixels, of whole latents: those that a picture of the first size is enlarged to, and what of
    that is kept, in its middle. They differ where both are given, and of another shape than the first."""
    width, height = first
    wide, high = hires.width or 0, hires.height or 0
    if not (wide or high):
        whole = int(width * hires.scale), int(height * hires.scale)
    elif not high or (wide and width * high < wide * height):
        whole = wide, wide * height // width
    else:
        whole = high * width // height, high
    kept = (wide, high) if wide and high else whole
    return _of_latents(whole, factor), _of_latents(kept, factor)


def _of_latents(size: Size, factor: int) -> Size:
    return size[0] // factor * factor, size[1] // factor * factor


def schedule_length(steps: int, strength: float) -> int:
    """How many steps the schedule has of which a second pass does the last `steps`: unlike those of a picture to start
    from, the webui does as many as are said."""
    return int(steps / min(strength, NOT_ALL))


def enlarge(model: BaseModel, hires: Hires, latents: Tensor, first: Size) -> Tensor:
    """Latents of the larger size. latents (batch, c, h, w): what the first pass drew, of that size in pixels."""
    whole, kept = sizes(hires, first, model.factor)
    larger = _enlarged(model, hires.upscaler, latents, whole)
    (wide, high), (across, down) = ([side // model.factor for side in size] for size in (kept, whole))
    left, top = (across - wide) // 2, (down - high) // 2
    return larger[:, :, top : top + high, left : left + wide]


def _enlarged(model: BaseModel, upscaler: str, latents: Tensor, size: Size) -> Tensor:
    if upscaler in LATENT:
        mode, antialias = LATENT[upscaler]
        shape = size[1] // model.factor, size[0] // model.factor
        return functional.interpolate(latents, shape, mode=mode, antialias=antialias)
    return torch.cat([encoded(model, enlarged(image, size, upscaler)) for image in decoded(model, latents)])
