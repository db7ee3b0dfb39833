"""What a picture is so far, without the autoencoder: each latent as one pixel."""

from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from limner.base.model import BaseModel
from limner.generate.pixels import to_image

CARD = 16  # latents a side, of the colours by which it is found what latents mean
SEED = 0


@dataclass(frozen=True)
class Previewer:
    """colours: (channels + 1, 3), what each latent adds to red, green and blue in -1..1, and what is there without."""

    colours: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, model: BaseModel) -> "Previewer":
        """Fitted by least squares to how a base encodes random soft colours."""
        random = torch.Generator().manual_seed(SEED)
        coarse = torch.rand((1, 3, CARD, CARD), generator=random) * 2 - 1
        card = functional.interpolate(coarse, scale_factor=model.factor, mode="bilinear")
        latents = model.encode_images(card).float().cpu()
        seen = functional.avg_pool2d(card, model.factor).flatten(2)[0].T
        given = latents.flatten(2)[0].T
        ones = torch.ones(len(given), 1)
        return cls(torch.linalg.lstsq(torch.cat([given, ones], dim=1), seen).solution)

    def __call__(self, latents: Tensor) -> Image.Image:
        """A picture, a pixel for each latent, of latents (c, h, w)."""
        pixels = torch.einsum("chw,cr->rhw", latents.float().cpu(), self.colours[:-1])
        return to_image(pixels + self.colours[-1].view(3, 1, 1))
