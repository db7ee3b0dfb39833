"""Gain: a layer may speak louder or softer, W' = (1 + g) W, with one number g a layer. All of a method in one file."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from limner.methods.family import AdapterConfig, Adapters
from limner.methods.form import Form, Leaves, Shape


class GainForm(Form):
    """One number, as no program but Limner with this package knows it."""

    name = "gain"
    leaves: ClassVar[Mapping[str, str]] = {"gain": "gain"}
    marks = ("gain",)
    needs = ("gain",)

    @classmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        return leaves["gain"].numel() == 1

    @classmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        return weight * leaves["gain"]


class GainConfig(AdapterConfig):
    """What it can be told beside what the whole family can."""

    start: float = Field(0.0, gt=-1, lt=1, description="The number at first.")


class Gain(Adapters):
    """One number a layer."""

    Config = GainConfig
    form = GainForm
    rates = (10.0, 10.0, 10.0)
    config: GainConfig

    def start(self, name: str, weight: Tensor, random: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        return {"gain": torch.full((1,), self.config.start)}, {}
