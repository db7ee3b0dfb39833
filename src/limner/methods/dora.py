"""DoRA (Liu et al. 2024, arXiv 2402.09353): a weight's rows get a length of their own, beside a low-rank change.

W' = m * V / |V| with V = W + alpha / rank * up @ down, the norm of each output's row, and m learned, |W| at first. This
is LyCORIS's and PEFT's axis; A1111 knows only the other one.
"""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from limner.methods.family import Ranked, RankedConfig
from limner.methods.form import TINY, Form, Leaves, Seen, Shape, scale
from limner.methods.loha import HadamardForm
from limner.methods.lokr import KroneckerForm
from limner.methods.lora import LowRankForm, no_change

MAGNITUDE = "dora_scale"
ADDED: tuple[type[Form], ...] = (LowRankForm, HadamardForm, KroneckerForm)  # what V can be made with


class DecomposedForm(Form):
    """Lengths (out, 1[, 1, 1]), or (1, in[, 1, 1]) of columns, beside the leaves of a form that adds to W."""

    name = "dora"
    leaves: ClassVar[Mapping[str, str]] = {leaf: spelled for form in ADDED for leaf, spelled in form.leaves.items()} | {
        MAGNITUDE: MAGNITUDE
    }
    marks = (MAGNITUDE,)
    needs = (MAGNITUDE,)

    @classmethod
    def missing(cls, leaves: Leaves) -> list[str]:
        form = _added(leaves)
        return super().missing(leaves) + (LowRankForm if form is None else form).missing(leaves)

    @classmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        form, lengths = _added(leaves), leaves[MAGNITUDE]
        if form is None or lengths.dim() < 2 or lengths.numel() != max(lengths.shape[:2]):
            return False
        matches = shape is None or lengths.numel() == shape[0 if _is_by_row(lengths, shape[0]) else 1]
        return matches and form.fits(leaves, shape)

    @classmethod
    def rank(cls, leaves: Leaves) -> int | None:
        form = _added(leaves)
        return None if form is None else form.rank(leaves)

    @classmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        form, lengths = _added(leaves), leaves[MAGNITUDE]
        assert form is not None
        added = form.change(weight, leaves)
        ratio = lengths.view(_kept(lengths, weight)) / norms(weight + added, _is_by_row(lengths, weight.shape[0]))
        return added * ratio + weight * (ratio - 1)  # without a change, exactly none

    @classmethod
    def gradients(cls, seen: Seen, leaves: Leaves) -> tuple[Tensor, ...] | None:
        """Much as a LoRA's: with q = sum(dy y) of each row, dm = q / m and dV = m / |V| dW' - q / |V|^2 V."""
        lengths = leaves[MAGNITUDE].flatten()
        plain = seen.learned == ("lora_down", "lora_up", MAGNITUDE) and seen.strength == 1 and seen.is_matrix
        if not plain or bool(lengths.abs().min() < TINY):
            return None
        down, up = leaves["lora_down"].flatten(1), leaves["lora_up"].flatten(1)
        size = scale(leaves, len(down))
        merged = torch.addmm(seen.weight.flatten(1), up, down, alpha=size)
        norm = norms(merged).flatten()
        products, ratio = seen.products(), lengths / norm
        backward = (products / norm.square())[:, None]
        low, high = (factor.to(seen.inputs.dtype) for factor in (down, ratio[:, None] * up))
        d_up = ratio[:, None] * (seen.d_outputs.t() @ (seen.inputs @ low.t())).to(norm.dtype)
        d_up -= backward * (merged @ down.t())
        d_down = ((seen.d_outputs @ high).t() @ seen.inputs).to(norm.dtype) - (backward * up).t() @ merged
        found = {"lora_down": size * d_down, "lora_up": size * d_up, MAGNITUDE: products / lengths}
        return tuple(found[leaf].view(leaves[leaf].shape) for leaf in seen.learned)


def norms(weight: Tensor, by_row: bool = True) -> Tensor:
    """Of each output's row, (out, 1[, 1, 1]), or of each input's column, (1, in[, 1, 1])."""
    rest = [axis for axis in range(weight.dim()) if axis != (0 if by_row else 1)]
    smallest = torch.finfo(weight.dtype).tiny  # rows of zeros have no direction
    return torch.linalg.vector_norm(weight, dim=rest, keepdim=True).clamp(min=smallest)


def _added(leaves: Leaves) -> type[Form] | None:
    return next((form for form in ADDED if form.owns(leaves)), None)


def _is_by_row(lengths: Tensor, outputs: int) -> bool:
    """Told as LyCORIS's readers tell it."""
    return lengths.shape[0] == outputs


def _kept(lengths: Tensor, weight: Tensor) -> list[int]:
    """The shape in which lengths multiply a weight."""
    ones = [1] * weight.dim()
    ones[0 if _is_by_row(lengths, weight.shape[0]) else 1] = -1
    return ones


class DoRAConfig(RankedConfig):
    """What a DoRA is made of."""


class DoRA(Ranked):
    """Low-rank changes of direction, and lengths."""

    Config = DoRAConfig
    form = DecomposedForm

    def start(self, name: str, weight: Tensor, random: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        down, up = no_change(weight, self.rank(name), random)
        learned = {"lora_down": down, "lora_up": up, MAGNITUDE: norms(weight.float())}
        return learned, {"alpha": self.alpha()}
