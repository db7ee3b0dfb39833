"""Pictures to latents, and latents to pictures."""

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from limner.base.model import BaseModel
from limner.errors import UserError


def encoded(model: BaseModel, image: Image.Image) -> Tensor:
    """Latents (1, c, h, w), float32, of an RGB picture, whose sides are cut to whole latents."""
    width, height = (side // model.factor * model.factor for side in image.size)
    pixels = torch.from_numpy(np.array(image.crop((0, 0, width, height)))).permute(2, 0, 1)[None].float() / 127.5 - 1
    return model.encode_images(pixels).float()


def decoded(model: BaseModel, latents: Tensor) -> list[Image.Image]:
    """Pictures of latents (batch, c, h, w). Raises UserError if they are none."""
    pixels = model.decode(latents).float()
    if not bool(torch.isfinite(pixels).all()):
        raise UserError(
            "the picture holds values that are no numbers; use --precision fp32 or weaker LoRAs and emphasis"
        )
    return [to_image(one) for one in pixels]


def to_image(pixels: Tensor) -> Image.Image:
    """An RGB picture of pixels (3, h, w) in -1..1; values beyond are clipped."""
    levels = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())
