"""CLIP-T: how well pictures agree with texts, by a CLIP that lies on this machine (Radford et al. 2021, 2103.00020)."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image, ImageOps
from torch import Tensor
from transformers import CLIPModel, CLIPTokenizerFast

from limner.errors import UserError, is_out_of_memory

# Of the pictures that CLIP learned from; part of its definition.
MEAN = torch.tensor((0.48145466, 0.4578275, 0.40821073)).view(3, 1, 1)
DEVIATION = torch.tensor((0.26862954, 0.26130258, 0.27577711)).view(3, 1, 1)


class Clip:
    """A frozen CLIP, float32 on the CPU."""

    def __init__(self, folder: Path) -> None:
        """A folder in transformers' layout. Raises UserError."""
        try:
            network: Any = CLIPModel.from_pretrained(folder, local_files_only=True, use_safetensors=True)
            self._tokenizer = CLIPTokenizerFast.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise UserError(
                f"cannot open a CLIP in {folder} ({error}); give a folder in transformers' layout, or leave --clip out"
            ) from error
        self._network = network.float().requires_grad_(False).eval()

    @torch.no_grad()
    def agreement(self, images: Sequence[Image.Image], text: str) -> float:
        """Mean cosine of pictures and a text, of which CLIP reads the first 77 tokens."""
        network = self._network
        tokens = self._tokenizer([text], truncation=True, max_length=77, return_tensors="pt")
        said = network.text_projection(network.text_model(**tokens).pooler_output)
        side = network.config.vision_config.image_size
        pixels = torch.stack([_pixels(image, side) for image in images])
        shown = network.visual_projection(network.vision_model(pixel_values=pixels).pooler_output)
        return float(torch.nn.functional.cosine_similarity(shown, said).mean())


def _pixels(image: Image.Image, side: int) -> Tensor:
    """The network's input, (3, side, side): the centre square."""
    square = ImageOps.fit(image.convert("RGB"), (side, side), Image.Resampling.BICUBIC)
    levels = torch.frombuffer(bytearray(square.tobytes()), dtype=torch.uint8).view(side, side, 3)
    return (levels.permute(2, 0, 1).float() / 255 - MEAN) / DEVIATION
