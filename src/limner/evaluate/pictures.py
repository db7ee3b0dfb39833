"""The pictures that are judged: drawn with and without a file from the same noise, and real ones beside them."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

import torch
from PIL import Image, ImageOps
from torch import Tensor

from limner.base.model import BaseModel
from limner.data.folder import Picture
from limner.device import generator
from limner.diffusion import add_noise
from limner.formats import load_weights
from limner.formats.metadata import run_card
from limner.generate import Generated, Request, generate_each, to_image
from limner.infotext import read_picture, save_png
from limner.methods.method import apply_weights
from limner.weights import Weights

NOISE_LEVELS = (0.1, 0.35, 0.6, 0.85)  # parts of the schedule at which predictions are compared
SMALL = 256  # pixels: up to here a base is small enough for large batches on any machine, and a CPU idle in small ones
TOGETHER = 12  # pictures; a pocket-sized one takes half the time that it takes alone


class State(Protocol):
    """What a model can be for a while: `with state.on(model): ...`."""

    def on(self, model: BaseModel) -> AbstractContextManager[None]: ...


class Learned:
    """What a finished file of any kind teaches, as a state of the model: `with learned.on(model): ...`.

    Prompts call an embedding by its keyword or by the name of its file.
    """

    def __init__(self, path: Path, strength: float = 1.0) -> None:
        """Raises UserError if it is no file that Limner reads."""
        self.path = path
        self.strength = strength
        self.weights: Weights = load_weights(path)

    @property
    def keyword(self) -> str:
        """The word that the file says it is called by; of an embedding, else its file's name; else nothing."""
        said = self.weights.metadata.get("modelspec.trigger_phrase", "")
        return said or (self.path.stem if self.weights.kind == "embedding" else "")

    @property
    def class_word(self) -> str:
        """What the run card says that the subject is, or nothing."""
        settings = self.run_card.get("settings")
        return str(settings.get("class", "")) if isinstance(settings, dict) else ""

    @property
    def images_sha256(self) -> set[str]:
        """Hashes of the pictures that had a part in the training: those that it learned from and those that told when
        to stop. Empty if the file does not say."""
        lists = (self.run_card.get(name) for name in ("images_sha256", "held_out_sha256"))
        return {str(each) for found in lists if isinstance(found, list) for each in found}

    @property
    def run_card(self) -> dict[str, Any]:
        """What the file tells of its making; empty if nothing."""
        return run_card(self.weights.metadata) or {}

    @contextmanager
    def on(self, model: BaseModel) -> Iterator[None]:
        """The model as it is with the file; as it was afterwards. Raises UserError if the file does not fit."""
        names = dict.fromkeys((self.keyword, self.path.stem)) if self.weights.kind == "embedding" else ("",)
        with ExitStack() as undo:
            for name in names:
                called = replace(self.weights, name=name or self.weights.name)
                undo.callback(apply_weights(model, called, self.strength, self.strength))
            yield


def draw(
    model: BaseModel, prompts: Sequence[str], learned: State | None, request: Request, folder: Path | None = None
) -> Iterator[list[Image.Image]]:
    """The `request.count` pictures of each prompt; their noise depends on the seed alone, so states compare.

    The model has the file until the last is drawn. In a folder, which must be of one state, they are kept as
    PROMPT-SEED.png, and those that are there are not drawn again.
    """
    # always the same ones together, so that what is drawn again is what was drawn: a larger batch rounds otherwise
    together = max(1, TOGETHER // request.count) if model.resolution <= SMALL else 1
    with ExitStack() as state:
        is_on = learned is None
        for start in range(0, len(prompts), together):
            wanted = [replace(request, prompt=prompt) for prompt in prompts[start : start + together]]
            kept = [
                None if folder is None else _kept(folder, start + at, model, each) for at, each in enumerate(wanted)
            ]
            if None not in kept:
                yield from (images for images in kept if images)
                continue
            if learned is not None and not is_on:
                state.enter_context(learned.on(model))
                is_on = True
            for at, (images, pictures) in enumerate(zip(kept, _drawn(model, wanted), strict=True), start):
                if images is None and folder is not None:
                    for picture in pictures:
                        save_png(picture.image, picture.infotext, _path(folder, at, picture.seed))
                yield images or [picture.image for picture in pictures]


def _drawn(model: BaseModel, requests: Sequence[Request]) -> list[list[Generated]]:
    """The `count` pictures of each request, all in one batch."""
    count = requests[0].count
    singles = [replace(each, seed=each.seed + one, count=1) for each in requests for one in range(count)]
    pictures = generate_each(model, singles)
    return [pictures[at : at + count] for at in range(0, len(pictures), count)]


def _path(folder: Path, number: int, seed: int) -> Path:
    return folder / f"{number:02d}-{seed}.png"


def _kept(folder: Path, number: int, model: BaseModel, request: Request) -> list[Image.Image] | None:
    """The pictures of a prompt, if all are there and say that they are of this request and base."""
    own = {"Steps": str(request.steps), "CFG scale": f"{request.cfg_scale:g}", "Model hash": model.sha256[:10]}
    images = []
    for seed in range(request.seed, request.seed + request.count):
        path = _path(folder, number, seed)
        said = read_picture(path) if path.exists() else None
        wanted = own | {"Seed": str(seed)}
        if said is None or said.prompt != request.prompt or said.settings | wanted != said.settings:
            return None
        with Image.open(path) as image:
            images.append(image.convert("RGB"))
    return images


def real_square(picture: Picture, side: int) -> Image.Image:
    """The centre square of a picture, at the size that the base draws."""
    return ImageOps.fit(picture.open(), (side, side), Image.Resampling.LANCZOS)


@torch.no_grad()
def through_autoencoder(model: BaseModel, images: Sequence[Image.Image]) -> list[Image.Image]:
    """The best that the base can show of these pictures: encoded and decoded again. Sides must suit the base."""
    return [to_image(model.decode(encode(model, image))[0].float()) for image in images]


@torch.no_grad()
def encode(model: BaseModel, image: Image.Image) -> Tensor:
    """A picture's scaled latents (1, c, h/8, w/8). Sides must suit the base."""
    return model.encode_images(_pixels(image))


@torch.no_grad()
def noise_predictions(model: BaseModel, images: Sequence[Image.Image], prompts: Sequence[str], seed: int) -> Tensor:
    """What the network predicts for each picture and its prompt at four noise levels: float32 (images, c, ...)."""
    timesteps = torch.tensor([int(level * len(model.alphas_cumprod)) for level in NOISE_LEVELS])
    signal = model.alphas_cumprod[timesteps]
    predictions = []
    for number, (image, prompt) in enumerate(zip(images, prompts, strict=True)):
        clean = encode(model, image).float().cpu()
        noise = torch.randn(len(timesteps), *clean.shape[1:], generator=generator(seed + number))
        noisy = add_noise(clean.expand_as(noise), noise, signal).to(model.device, model.dtype)
        conditioning = model.encode_prompts([prompt] * len(timesteps))
        predictions.append(model.predict(noisy, timesteps.to(model.device), conditioning).float().cpu())
    return torch.stack(predictions)


def _pixels(image: Image.Image) -> Tensor:
    """(1, 3, h, w) in -1..1."""
    levels = torch.frombuffer(bytearray(image.convert("RGB").tobytes()), dtype=torch.uint8)
    return levels.view(1, image.height, image.width, 3).permute(0, 3, 1, 2).float() / 127.5 - 1
