"""(IA)^3 (Liu et al. 2022, arXiv 2205.05638): a number for each channel of some layers, in files of a few dozen kB.

W' = (1 + w) W, w over the outputs of attention's keys and values and over the inputs of the second feed-forward layer.
"""

from collections.abc import Iterator, Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from limner.base.model import BaseModel
from limner.methods.family import AdapterConfig, Adapters
from limner.methods.form import BIAS, TINY, Form, Leaves, Seen, Shape, is_number

OUTPUTS = ("to_k", "to_v", "k_proj", "v_proj")
INPUTS = ("net.2", "fc2", "conv1", "conv2")  # ends of paths: A1111 misreads numbers of a convolution's outputs


class ScaleForm(Form):
    """Numbers (channels,), or (1, channels, 1, 1) of a convolution, and on_input: whether they are the inputs'."""

    name = "ia3"
    leaves: ClassVar[Mapping[str, str]] = {"weight": "weight", "on_input": "on_input", "alpha": "alpha"} | BIAS
    marks = ("on_input",)
    needs = ("weight", "on_input")

    @classmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        if not is_number(leaves, "on_input"):
            return False
        return shape is None or leaves["weight"].numel() == shape[int(bool(leaves["on_input"]))]

    @classmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        return weight * leaves["weight"].view(by_channel(weight, bool(leaves["on_input"])))

    @classmethod
    def gradients(cls, seen: Seen, leaves: Leaves) -> tuple[Tensor, ...] | None:
        """With y = (1 + w) u of outputs, dw = sum(dy u); with x' = (1 + w) x of inputs, dw = sum(dx x) / (1 + w)."""
        factor = 1 + seen.strength * leaves["weight"].flatten()
        if bool(factor.abs().min() < TINY):
            return None
        if not bool(leaves["on_input"]):
            total = seen.products()
        elif seen.d_inputs is not None:
            total = (seen.d_inputs * seen.inputs).sum(0, dtype=factor.dtype)
        else:
            return None
        return ((seen.strength * total / factor).view(leaves["weight"].shape),)


def by_channel(weight: Tensor, on_input: bool) -> list[int]:
    """The shape in which numbers of outputs, or of inputs, multiply a weight."""
    shape = [1] * weight.dim()
    shape[int(on_input)] = -1
    return shape


class IA3Config(AdapterConfig):
    """What an IA3 is made of; layers: attention means keys and values, +mlp the second feed-forward layer's inputs, and
    all the 3x3 convolutions' inputs too."""


class IA3(Adapters):
    """Numbers by which channels are multiplied."""

    Config = IA3Config
    form = ScaleForm
    rates = (15.0, 3.0, 3.0)  # docs/methods.md

    def targets(self, model: BaseModel) -> Iterator[tuple[str, nn.Module]]:
        return ((name, module) for name, module in super().targets(model) if name.endswith(OUTPUTS + INPUTS))

    def start(self, name: str, weight: Tensor, random: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        on_input = name.endswith(INPUTS)
        channels = weight.shape[int(on_input)]
        shape = (channels,) if weight.dim() == 2 else (1, channels, 1, 1)
        return {"weight": torch.zeros(shape)}, {"on_input": torch.tensor(int(on_input))}
