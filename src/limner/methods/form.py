"""The seam of the LoRA family: an adapter is a way to write a layer's weight, W' = f(W, theta).

A form holds f and the names of theta's tensors, its leaves, in files. What trains (limner.methods.adapter), what
applies a finished file (limner.methods.applied) and what reads and writes files (limner.formats) take f from here.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from limner.methods.method import methods
from limner.plugins import PlugIn

Leaves = Mapping[str, Tensor]
TINY = 1e-3  # factors nearer to zero are not divided by
BIAS = {"diff_b": "diff_b"}  # the change of a layer's bias (out,), which files may have beside that of its weight
Shape = tuple[int, ...]
_NO_BIAS = torch.zeros(0)


class Form(PlugIn, ABC):
    """One parametrisation. All is static: a form has no state.

    name: what a file of it is called. leaves: every leaf that a file may have for a layer, and how files spell it.
    marks: leaves that few other forms have. needs: those without which a layer is incomplete. axes: the least that a
    weight has. is_written: False if its files are only ever read.
    """

    name: ClassVar[str]
    leaves: ClassVar[Mapping[str, str]]
    marks: ClassVar[tuple[str, ...]]
    needs: ClassVar[tuple[str, ...]]
    axes: ClassVar[int] = 2
    is_written: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for title in ("marks", "needs"):
            names = getattr(cls, title, ())
            if isinstance(names, str) or not set(names) <= getattr(cls, "leaves", {}).keys():
                raise TypeError(f"{cls.__name__}.{title} = {names!r} is not a tuple of its leaves")

    @classmethod
    def owns(cls, leaves: Collection[str]) -> bool:
        """Whether a layer with these leaves is of this form."""
        return any(mark in leaves for mark in cls.marks)

    @classmethod
    def missing(cls, leaves: Leaves) -> list[str]:
        """The leaves that are needed and not there."""
        return [leaf for leaf in cls.needs if leaf not in leaves]

    @classmethod
    @abstractmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        """Whether the leaves, none of them missing, fit each other and, if it is given, a weight of this shape."""

    @classmethod
    @abstractmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        """f(W, theta) - W, shaped like the weight, in the leaves' precision; autograd can go through it."""

    @classmethod
    def bias_change(cls, bias: Tensor, leaves: Leaves) -> Tensor | None:
        """What is added to the layer's bias, shaped like it; None if nothing, as in most files."""
        return leaves.get("diff_b")

    @classmethod
    def gradients(cls, seen: "Seen", leaves: Leaves) -> tuple[Tensor, ...] | None:
        """Gradients of the learned leaves, in the order of `seen.learned`, without forming that of W'; None if there is
        no shorter way, as there is none unless a form says one."""
        return None

    @classmethod
    def rank(cls, leaves: Leaves) -> int | None:
        """What the metadata call the network's dimension, if it has one."""
        return None

    @classmethod
    def add(cls, total: Tensor, weight: Tensor, leaves: Leaves, strength: float) -> Tensor:
        """`total` (out, in * k * k) plus `strength` times the change; both float32 on one device."""
        return total.add(cls.change(weight, leaves).reshape(total.shape), alpha=strength)


@dataclass(frozen=True)
class Seen:
    """What a layer saw in a training pass.

    learned: names of its learned leaves. weight: W, float32 or wider; strength: times its change is in W'. inputs,
    outputs, d_outputs, and d_inputs (None if nobody wants them): rows of channels, (positions, channels); is_matrix:
    whether each row of outputs came from that row of inputs alone, or from a convolution's window.
    """

    learned: tuple[str, ...]
    weight: Tensor
    bias: Tensor | None
    strength: float
    inputs: Tensor
    outputs: Tensor
    d_inputs: Tensor | None
    d_outputs: Tensor
    is_matrix: bool

    def products(self) -> Tensor:
        """For each output channel, the sum of its gradient times what came out of W' (without the bias): (out,)."""
        total = (self.d_outputs * self.outputs).sum(0, dtype=self.weight.dtype)
        if self.bias is not None:
            total -= self.bias * self.d_outputs.sum(0, dtype=self.weight.dtype)
        return total


@dataclass(frozen=True)
class Part:
    """What is to be added to a weight: `strength` times the change that the leaves stand for."""

    form: type[Form]
    leaves: Leaves
    strength: float

    def add_to(self, total: Tensor, weight: Tensor) -> Tensor:
        """`total` (out, in * k * k) and `weight` in float32."""
        leaves = {leaf: tensor.to(total.device, torch.float32) for leaf, tensor in self.leaves.items()}
        return self.form.add(total, weight, leaves, self.strength)


@functools.cache
def forms() -> dict[str, type[Form]]:
    """The forms of all methods there are, and those that are only read, by name."""
    from limner.methods.others import FORMS  # which take their seam from here

    found = [*(getattr(method, "form", None) for method in methods().values()), *FORMS]
    return {form.name: form for form in found if form is not None}


def form_of(leaves: Collection[str]) -> type[Form] | None:
    """The form of a layer with these leaves: of several that own it, the one that knows them all, and whose shapes they
    have if the tensors are given too."""
    owners = [form for form in forms().values() if form.owns(leaves)]
    if len(owners) < 2:
        return owners[0] if owners else None

    def strangeness(form: type[Form]) -> tuple[int, bool]:
        known = isinstance(leaves, Mapping) and not form.missing(leaves)
        return len(set(leaves) - form.leaves.keys()), known and not fit_together(form, leaves)  # type: ignore[arg-type]

    return min(owners, key=strangeness)


def fit_together(form: type[Form], leaves: Leaves) -> bool:
    """Whether a file's leaves, none of them missing, fit each other: of any shapes at all, which no form foresees."""
    try:
        return is_number(leaves) and leaves.get("diff_b", _NO_BIAS).dim() == 1 and form.fits(leaves)
    except (RuntimeError, IndexError, ValueError, TypeError, ArithmeticError):
        return False


def scale(leaves: Leaves, rank: int) -> float:
    """alpha / rank; without an alpha 1, as every program takes it."""
    return float(leaves["alpha"]) / rank if "alpha" in leaves else 1.0


def is_number(leaves: Leaves, leaf: str = "alpha") -> bool:
    """Whether a leaf, if it is there, is a single number."""
    return leaf not in leaves or leaves[leaf].numel() == 1


def tucker(core: Tensor, out: Tensor, into: Tensor) -> Tensor:
    """(out, in, k, k) of a core (r, r, k, k), `out` (r, out) and `into` (r, in)."""
    return torch.einsum("ab...,ao,bi->oi...", core, out, into)


def divisor(number: int, most: int) -> int:
    """The largest divisor of a number that is at most `most` and no more than its square root."""
    return next(size for size in range(min(most, int(number**0.5)), 0, -1) if number % size == 0)
