"""The pictures that are judged: drawn with and without the LoRA from the same noise, and real ones beside them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from PIL import Image, ImageOps
from torch import Tensor

from limner.base.model import BaseModel
from limner.data.folder import Picture
from limner.device import generator
from limner.diffusion import add_noise
from limner.formats import load_weights
from limner.generate import Request, UsedLora, applied, generate, to_image
from limner.prompt import LoraTag
from limner.weights import Weights

NOISE_LEVELS = (0.1, 0.35, 0.6, 0.85)  # parts of the schedule at which predictions are compared


class Lora:
    """A LoRA file as a state of the model: `with lora.on(model): ...`."""

    def __init__(self, path: Path, strength: float = 1.0) -> None:
        """Raises UserError if it is no LoRA file."""
        self.path = path
        self.strength = strength
        self.weights: Weights = load_weights(path)

    def on(self, model: BaseModel) -> AbstractContextManager[None]:
        tag = LoraTag(self.path.stem, self.strength, self.strength)
        return applied(model, [UsedLora(tag, self.weights, "")])


def draw(
    model: BaseModel, prompts: Sequence[str], lora: Lora | None, request: Request
) -> Iterator[tuple[str, list[Image.Image]]]:
    """Each prompt, and its `request.count` pictures; their noise depends on the seed alone, so states compare."""
    for prompt in prompts:
        with lora.on(model) if lora else nullcontext():
            pictures = generate(model, replace(request, prompt=prompt, batch_size=request.count))
            yield prompt, [picture.image for picture in pictures]


def real_square(picture: Picture, side: int) -> Image.Image:
    """The centre square of a picture, at the size that the base draws."""
    return ImageOps.fit(picture.open(), (side, side), Image.Resampling.LANCZOS)


@torch.no_grad()
def through_autoencoder(model: BaseModel, images: Sequence[Image.Image]) -> list[Image.Image]:
    """The best that the base can show of these pictures: encoded and decoded again. Sides must suit the base."""
    return [to_image(model.decode(model.encode_images(_pixels(image)))[0].float()) for image in images]


@torch.no_grad()
def noise_predictions(model: BaseModel, images: Sequence[Image.Image], prompts: Sequence[str], seed: int) -> Tensor:
    """What the network predicts for each picture and its prompt at four noise levels: float32 (images, 4, ...)."""
    timesteps = torch.tensor([int(level * len(model.alphas_cumprod)) for level in NOISE_LEVELS])
    signal = model.alphas_cumprod[timesteps]
    predictions = []
    for number, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
        clean = model.encode_images(_pixels(image)).float().cpu()
        noise = torch.randn(len(timesteps), *clean.shape[1:], generator=generator(seed + number))
        noisy = add_noise(clean.expand_as(noise), noise, signal).to(model.device, model.dtype)
        conditioning = model.encode_prompts([prompt] * len(timesteps))
        predictions.append(model.predict(noisy, timesteps.to(model.device), conditioning).float().cpu())
    return torch.stack(predictions)


def _pixels(image: Image.Image) -> Tensor:
    """(1, 3, h, w) in -1..1."""
    levels = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
    return levels.view(1, image.height, image.width, 3).permute(0, 3, 1, 2).float() / 127.5 - 1
