"""LoHa (Hyeon-Woo et al. 2021, arXiv 2108.06098; LyCORIS): the change is an entrywise product of two low-rank ones.

W' = W + alpha / rank * (w1_a @ w1_b) * (w2_a @ w2_b): a rank of up to rank^2 from twice the numbers of a LoRA.
"""

import math
from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from limner.methods.family import Ranked, RankedConfig
from limner.methods.form import BIAS, Form, Leaves, Shape, is_number, scale, tucker


class HadamardForm(Form):
    """Factors (out, rank), (rank, in * k * k); with cores t1, t2 (rank, rank, k, k) (rank, out), (rank, in)."""

    name = "loha"
    leaves: ClassVar[Mapping[str, str]] = {
        leaf: leaf for leaf in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2", "alpha")
    } | BIAS
    marks = ("hada_w1_a", "hada_w2_a")
    needs = ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b")

    @classmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        halves = [(leaves[f"hada_w{n}_a"], leaves[f"hada_w{n}_b"], leaves.get(f"hada_t{n}")) for n in (1, 2)]
        sizes = {_size(*half) for half in halves}
        if len(sizes) > 1 or None in sizes or not is_number(leaves):
            return False
        return shape is None or sizes == {(shape[0], math.prod(shape[1:]))}

    @classmethod
    def rank(cls, leaves: Leaves) -> int:
        return leaves["hada_w1_b"].shape[0]

    @classmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        one, two = (_product(leaves[f"hada_w{n}_a"], leaves[f"hada_w{n}_b"], leaves.get(f"hada_t{n}")) for n in (1, 2))
        return scale(leaves, leaves["hada_w1_b"].shape[0]) * (one * two).view(weight.shape)


def _product(a: Tensor, b: Tensor, core: Tensor | None) -> Tensor:
    """(out, in * k * k)."""
    return a @ b if core is None else tucker(core, a, b).flatten(1)


def _size(a: Tensor, b: Tensor, core: Tensor | None) -> tuple[int, int] | None:
    """The size of the product, None if there is none."""
    if a.dim() != 2 or b.dim() != 2:
        return None
    if core is None:
        return (a.shape[0], b.shape[1]) if a.shape[1] == b.shape[0] else None
    fits = core.dim() == 4 and core.shape[:2] == (a.shape[0], b.shape[0])
    return (a.shape[1], b.shape[1] * math.prod(core.shape[2:])) if fits else None


class LoHaConfig(RankedConfig):
    """What a LoHa is made of."""


class LoHa(Ranked):
    """Entrywise products of low-rank changes."""

    Config = LoHaConfig
    form = HadamardForm
    rates = (1.5, 0.3, 0.3)  # docs/methods.md

    def start(self, name: str, weight: Tensor, random: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """LyCORIS's initial values: one factor is zero, the others normal."""
        rank, (rows, columns) = self.rank(name), weight.flatten(1).shape
        return {
            "hada_w1_a": 0.1 * torch.randn(rows, rank, generator=random),
            "hada_w1_b": torch.randn(rank, columns, generator=random),
            "hada_w2_a": torch.zeros(rows, rank),
            "hada_w2_b": torch.randn(rank, columns, generator=random),
        }, {"alpha": self.alpha()}
