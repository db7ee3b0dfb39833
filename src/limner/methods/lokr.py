"""LoKr (Edalati et al. 2022, arXiv 2212.10650; LyCORIS): the change is a Kronecker product, for very small files.

W' = W + alpha / rank * w1 (x) w2, with w1 (a, c) and w2 (b, d[, k, k]), out = a * b and in = c * d. The larger one is a
product w2_a @ w2_b of that rank where this makes it smaller; where both are whole, the scale is 1.
"""

import math
from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from limner.config import Usual
from limner.methods.family import Ranked, RankedConfig
from limner.methods.form import BIAS, Form, Leaves, Shape, divisor, is_number, scale, tucker

_PAIRS = {"lokr_w1": ("lokr_w1_a", "lokr_w1_b"), "lokr_w2": ("lokr_w2_a", "lokr_w2_b")}


class KroneckerForm(Form):
    """Each factor is whole, or a product of two; w2 may have a core t2 (rank, rank, k, k) between them."""

    name = "lokr"
    leaves: ClassVar[Mapping[str, str]] = {
        leaf: leaf
        for leaf in (
            "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2", "alpha",
        )
    } | BIAS  # fmt: skip
    marks = ("lokr_w1", "lokr_w1_a", "lokr_w2", "lokr_w2_a")
    needs = ()

    @classmethod
    def missing(cls, leaves: Leaves) -> list[str]:
        return [
            next(leaf for leaf in pair if leaf not in leaves)
            for whole, pair in _PAIRS.items()
            if whole not in leaves and not set(pair) <= leaves.keys()
        ]

    @classmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        try:  # shapes alone, for the product of thin factors can be of any size
            first, second = _factors({name: leaf.to("meta") for name, leaf in leaves.items()})
        except (RuntimeError, IndexError):  # of factors that cannot be multiplied
            return False
        if not is_number(leaves) or first.dim() != 2:
            return False
        sides = (first.shape[0] * second.shape[0], first.shape[1] * math.prod(second.shape[1:]))
        return shape is None or sides == (shape[0], math.prod(shape[1:]))

    @classmethod
    def rank(cls, leaves: Leaves) -> int | None:
        halves = [leaves[leaf] for leaf in ("lokr_w2_b", "lokr_w1_b") if leaf in leaves]
        return halves[0].shape[0] if halves else None

    @classmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        first, second = _factors(leaves)
        rank = cls.rank(leaves)  # without one, programs ignore an alpha, whatever it is
        product = torch.kron(first, second.flatten(1).contiguous()).view(weight.shape)
        return product if rank is None else scale(leaves, rank) * product


def _factors(leaves: Leaves) -> tuple[Tensor, Tensor]:
    """w1 (a, c) and w2 (b, d[, k, k]) or (b, d * k * k)."""
    first = leaves["lokr_w1"] if "lokr_w1" in leaves else leaves["lokr_w1_a"] @ leaves["lokr_w1_b"]
    if "lokr_w2" in leaves:
        return first, leaves["lokr_w2"]
    a, b = leaves["lokr_w2_a"], leaves["lokr_w2_b"]
    return first, tucker(leaves["lokr_t2"], a, b) if "lokr_t2" in leaves else a @ b.flatten(1)


class LoKrConfig(RankedConfig):
    """What a LoKr is made of."""

    factor: Annotated[int, Usual(2, 64)] = Field(
        8, ge=2, le=64, description="Most rows and columns of the small factor; a larger one makes a smaller file."
    )


class LoKr(Ranked):
    """Kronecker products."""

    Config = LoKrConfig
    form = KroneckerForm
    rates = (15.0, 3.0, 3.0)  # docs/methods.md
    config: LoKrConfig

    def leaf_rate(self, leaf: str) -> float:
        """A whole factor has no scale in a file, so it learns as much slower as its product's scale would have it."""
        return self.config.alpha / self.config.rank if leaf == "lokr_w2" else 1.0

    def start(self, name: str, weight: Tensor, random: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        rank, (rows, columns) = self.rank(name), weight.shape[:2]
        high, wide = divisor(rows, self.config.factor), divisor(columns, self.config.factor)
        b, d, kernel = rows // high, columns // wide, tuple(weight.shape[2:])
        learned = {"lokr_w1": _uniform((high, wide), random)}
        if rank >= max(b, d) / 2:
            return learned | {"lokr_w2": torch.zeros(b, d, *kernel)}, {"alpha": torch.tensor(1.0)}
        learned["lokr_w2_a"] = _uniform((b, rank), random)
        learned["lokr_w2_b"] = torch.zeros(rank, d * math.prod(kernel))
        return learned, {"alpha": self.alpha()}


def _uniform(shape: tuple[int, int], random: torch.Generator) -> Tensor:
    """Kaiming's uniform with a = sqrt(5), as LyCORIS begins."""
    bound = 1 / math.sqrt(shape[1])
    return torch.empty(shape).uniform_(-bound, bound, generator=random)
