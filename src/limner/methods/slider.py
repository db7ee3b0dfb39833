"""Slider (Gandikota et al. 2023, arXiv 2311.12092): a LoRA whose strength turns a property up or down; no pictures.

It learns to predict, for the target prompt, p(target) + s * push * (p(positive) - p(negative)) at strength s, p being
the base's own prediction. The base answers once, before anything is attached to it, on noisy latents of pictures that
it draws itself; so a step costs no more than one of any LoRA.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from limner.base.conditioning import Conditioning
from limner.base.model import BaseModel
from limner.config import Settings, Usual
from limner.data.batch import Batch
from limner.device import generator as seeded
from limner.diffusion import Objective, shifted, stratified
from limner.errors import UserError
from limner.methods import applied
from limner.methods.family import Layers
from limner.methods.lora import LoRA, LoRAConfig
from limner.methods.method import Method, ParamGroup
from limner.weights import Weights

STEPS = 20  # of the sampler with which it draws, each giving one example
GUIDANCE = 5.0  # of these pictures
AT_ONCE = 4  # pictures drawn together


class SliderConfig(Settings):
    """What a slider is about."""

    positive: str = Field(examples=["a smiling cat"], description="What it turns up, as in: a smiling person.")
    negative: str = Field("", description="What it turns down, as in: a frowning person; the opposite works best.")
    target: str = Field("", description="What it acts on, as in: a person; by default on everything.")
    push: Annotated[float, Usual(0.2, 10)] = Field(
        2.0, gt=0, allow_inf_nan=False, description="How far strength 1 goes, in differences of the two prompts."
    )
    pictures: Annotated[int, Usual(2, 100)] = Field(
        8, ge=1, le=1000, description="How many it draws for itself to learn on."
    )
    rank: Annotated[int, Usual(1, 256)] = Field(4, ge=1, le=1024, description="Width of the LoRA's two matrices.")
    layers: Layers = Field("attention+mlp", description="Layers of the UNet, as for a LoRA.")
    clip_skip: Annotated[int, Usual(1, 4)] = Field(1, ge=1, le=12, description="As the run's, from which it is taken.")


@dataclass(frozen=True)
class Bank:
    """What the base answered, by rising timestep, float32 on the CPU.

    noisy (n, c, h, w), timesteps (n,), plain: the answer to the target; change: how far strength 1 moves it.
    """

    noisy: Tensor
    timesteps: Tensor
    plain: Tensor
    change: Tensor


class Slider(Method):
    """A LoRA of the UNet with a loss of its own."""

    Config = SliderConfig
    kind = "lora"
    needs_images = False
    from_run: ClassVar[Mapping[str, str]] = {"clip_skip": "clip_skip"}
    apply = staticmethod(applied.apply)

    def __init__(self, config: SliderConfig) -> None:
        self.config = config
        self.lora = LoRA(LoRAConfig(rank=config.rank, layers=config.layers))
        self._bank: Bank | None = None
        self._told: Conditioning | None = None
        self._strength = 1.0  # at which the model computes

    def check(self, model: BaseModel) -> None:
        if model.tokenize(self.config.positive) == model.tokenize(self.config.negative):
            raise UserError(
                "the slider's positive and negative prompts say the same; let them differ in what it is to turn"
            )

    def attach(self, model: BaseModel, seed: int = 0) -> list[ParamGroup]:
        self.check(model)
        self._told, self._bank = _ask(model, self.config, seed)
        self._strength = 1.0
        return self.lora.attach(model, seed)

    def loss(
        self, model: BaseModel, batch: Batch, generator: torch.Generator, objective: Objective | None = None
    ) -> Tensor:
        """Mean squared error at all noise levels, at strength 1 or -1; of `batch` only the size counts."""
        assert self._bank is not None
        assert self._told is not None
        bank, count = self._bank, len(batch.latents)
        if batch.latents.shape[-2:] != bank.noisy.shape[-2:]:
            raise UserError("a slider learns at the resolution of its base; leave --resolution out")
        strength = 1.0 if torch.rand((), generator=generator) < 0.5 else -1.0
        chosen = (stratified(count, generator) * len(bank.timesteps)).long().clamp(max=len(bank.timesteps) - 1)
        self._show(strength)
        predicted = model.predict(
            bank.noisy[chosen].to(model.device, model.dtype, memory_format=torch.channels_last),
            bank.timesteps[chosen].to(model.device),
            self._told.expand(count),
        )
        wanted = bank.plain[chosen] + strength * bank.change[chosen]
        return (predicted.float() - wanted.to(model.device)).square().mean()

    def refresh(self) -> None:
        self.lora.refresh()
        self._strength = 1.0

    def _show(self, strength: float) -> None:
        if strength != self._strength:
            self.lora.refresh(strength)
            self._strength = strength

    def detach(self) -> None:
        self.lora.detach()

    def weights(self) -> Weights:
        return self.lora.weights()

    def state(self) -> dict[str, Tensor]:
        return self.lora.state()

    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        self.lora.load_state(tensors)


@torch.no_grad()
def _ask(model: BaseModel, config: SliderConfig, seed: int) -> tuple[Conditioning, Bank]:
    """The target's conditioning (batch of 1), and the base's answers along the making of some pictures of it."""
    prompts = [config.target, config.positive, config.negative, ""]
    told = model.encode_prompts(prompts, config.clip_skip).rows()
    random = seeded(seed)
    side = model.resolution // model.factor
    found: list[tuple[Tensor, ...]] = []
    for start in range(0, config.pictures, AT_ONCE):
        count = min(AT_ONCE, config.pictures - start)
        latents = torch.randn(count, model.channels, side, side, generator=random)
        shift = float(torch.rand((), generator=random))  # so that all timesteps occur, not twenty of them
        for step in reversed(range(STEPS)):
            now, then = _timestep(model, step + shift), _timestep(model, step + shift - 1)
            target, positive, negative, empty = _answers(model, latents, now, told)
            change = config.push * (positive - negative)
            found += [(one, torch.tensor(now), *two) for one, *two in zip(latents, target, change, strict=True)]
            latents = _ddim(model, latents, empty + GUIDANCE * (target - empty), now, then)
    found.sort(key=lambda example: int(example[1]))
    return told[0], Bank(*(torch.stack(column) for column in zip(*found, strict=True)))


def _timestep(model: BaseModel, place: float) -> int:
    """The timestep at 0..STEPS of the way to pure noise, by the model's shift; -1 before the first, where no noise is
    left."""
    if place < 0:
        return -1
    return int(
        shifted(torch.tensor(place / STEPS, dtype=torch.float64), model.timestep_shift) * len(model.alphas_cumprod)
    )


def _answers(model: BaseModel, latents: Tensor, timestep: int, told: list[Conditioning]) -> tuple[Tensor, ...]:
    """What the base predicts for the same latents told each of these: float32 on the CPU."""
    noisy = latents.to(model.device, model.dtype, memory_format=torch.channels_last)
    timesteps = torch.full((len(latents),), timestep, device=model.device)
    return tuple(model.predict(noisy, timesteps, each.expand(len(latents))).float().cpu() for each in told)


def _ddim(model: BaseModel, latents: Tensor, output: Tensor, now: int, then: int) -> Tensor:
    """One deterministic step of DDIM (Song et al. 2021, arXiv 2010.02502) from timestep `now` to `then`."""
    a, b = (float(model.alphas_cumprod[t]) if t >= 0 else 1.0 for t in (now, then))
    if model.prediction_type == "flow":
        root, other = a**0.5, (1 - a) ** 0.5
        clean, noise = ((latents - other * output) / (root + other), (latents + root * output) / (root + other))
    elif model.prediction_type == "v_prediction":
        clean = a**0.5 * latents - (1 - a) ** 0.5 * output
        noise = a**0.5 * output + (1 - a) ** 0.5 * latents
    else:
        clean, noise = (latents - (1 - a) ** 0.5 * output) / a**0.5, output
    return b**0.5 * clean + (1 - b) ** 0.5 * noise
