"""Where the tensors of two files differ, and how much: a tensor of each at a time, so that models fit in any memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from limner.base.quantized import scales_of
from limner.base.weight_reader import WeightReader
from limner.container import TensorFile, open_tensors
from limner.errors import UserError
from limner.formats import load_weights
from limner.formats.blocks import block_of

_NAMED = 20  # of tensors that only one of two files has
_MOST_NEUTRAL = 2**30  # bytes of files that are read whole to compare them under Limner's names
_TINY = torch.finfo(torch.float32).tiny


@dataclass
class Block:
    """A part of the network: tensors in both files, how many of them differ, and the largest relative difference, in
    the Frobenius norm, of any of them, with its name. NaN where a tensor holds what is no number."""

    tensors: int = 0
    differing: int = 0
    largest: float = 0.0
    at: str = ""


@dataclass
class TensorDifference:
    """only_first, only_second: names of some of the tensors that only one file has, and how many those are in all.
    reshaped: names that stand for other shapes. rounded: tensors that are equal in the coarser of their two number
    formats, which are not counted as differing. neutral: whether they were compared under Limner's names for them."""

    only_first: list[str] = field(default_factory=list)
    only_second: list[str] = field(default_factory=list)
    only_first_count: int = 0
    only_second_count: int = 0
    reshaped: list[str] = field(default_factory=list)
    rounded: int = 0
    neutral: bool = False
    blocks: dict[str, Block] = field(default_factory=dict)

    @property
    def differing(self) -> int:
        return sum(block.differing for block in self.blocks.values())

    @property
    def is_same(self) -> bool:
        """Whether the weights are the same numbers, or the same up to the rounding of a number format."""
        return not (self.differing or self.only_first_count or self.only_second_count or self.reshaped)


def compare_files(first: Path, second: Path, network: str = "") -> TensorDifference:
    """Tensors by name; where the two files have none in common, as a LoRA's in two spellings, by Limner's names.

    network: what the files are the weights of, if it is one network alone. Raises UserError if one cannot be read.
    """
    with open_tensors(first) as one_file, open_tensors(second) as other_file:
        one, other = (_as_meant(file) for file in (one_file, other_file))
        if one.shapes.keys() & other.shapes.keys() or not (one.shapes and other.shapes):
            return _compare(one.shapes, other.shapes, one.get, other.get, network)
    if first.stat().st_size + second.stat().st_size <= _MOST_NEUTRAL:
        try:
            held = [load_weights(path).tensors for path in (first, second)]
        except UserError:  # of kinds that Limner reads no weights of
            held = []
        if held and held[0].keys() & held[1].keys():
            found = compare_tensors(*held)
            found.neutral = True
            return found
    return _compare(one.shapes, other.shapes, one.get, other.get)


def _as_meant(file: TensorFile) -> TensorFile | WeightReader:
    """A file's tensors, those of float8 with their scales multiplied in."""
    return WeightReader(file.path, [file]) if scales_of(file.shapes) else file


def compare_tensors(first: Mapping[str, Tensor], second: Mapping[str, Tensor]) -> TensorDifference:
    one, other = ({name: tuple(tensor.shape) for name, tensor in each.items()} for each in (first, second))
    return _compare(one, other, first.__getitem__, second.__getitem__)


Shapes = Mapping[str, tuple[int, ...]]


def _compare(
    first: Shapes,
    second: Shapes,
    get_first: Callable[[str], Tensor],
    get_second: Callable[[str], Tensor],
    network: str = "",
) -> TensorDifference:
    alone, other_alone = ([name for name in a if name not in b] for a, b in ((first, second), (second, first)))
    found = TensorDifference(alone[:_NAMED], other_alone[:_NAMED], len(alone), len(other_alone))
    for name, shape in first.items():
        if name not in second:
            continue
        if shape != second[name]:
            found.reshaped.append(name)
            continue
        block = found.blocks.setdefault(block_of(f"{network}.{name}" if network else name), Block())
        block.tensors += 1
        one, other = get_first(name), get_second(name)
        if _same_bytes(one, other):
            continue
        if _same_rounded(one, other):
            found.rounded += 1
            continue
        block.differing += 1
        relative = _relative(one, other)
        if not relative <= block.largest:
            block.largest, block.at = relative, name
    return found


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and torch.equal(
        one.reshape(-1).view(torch.uint8), other.reshape(-1).view(torch.uint8)
    )


def _same_rounded(one: Tensor, other: Tensor) -> bool:
    if one.dtype == other.dtype or not (one.is_floating_point() and other.is_floating_point()):
        return False
    coarse = min(one.dtype, other.dtype, key=lambda dtype: (dtype.itemsize, -torch.finfo(dtype).eps))
    return _same_bytes(one.to(coarse), other.to(coarse))


def _relative(one: Tensor, other: Tensor) -> float:
    one, other = (each.to(torch.complex64 if each.is_complex() else torch.float32) for each in (one, other))
    length = float(torch.linalg.vector_norm(one)) or float(torch.linalg.vector_norm(other))
    return float(torch.linalg.vector_norm(one - other)) / max(length, _TINY)
