"""Whole files of tensors read, and safetensors files written: bytes that repeat."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor

from limner.container.file import Header, open_tensors
from limner.container.places import DTYPE_NAMES

SUFFIX = ".safetensors"  # the ending by which every other program finds and opens the file


def read_header(path: Path) -> Header:
    """What a file of tensors declares, whatever its name ends with. Raises UserError as `open_tensors` does."""
    with open_tensors(path) as file:
        return file


def read_tensors(path: Path, ending: str = "") -> dict[str, Tensor]:
    """The tensors whose names end with `ending`, on the CPU in the file's dtypes; UserError if the file is damaged."""
    with open_tensors(path) as file:
        return {name: file.get(name) for name in file.shapes if name.endswith(ending)}


def serialize(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """A safetensors file's bytes.

    The library writes metadata in the order of a randomly seeded hash table; here they are sorted, so that the same
    weights and metadata are the same file.
    """
    plain = save({name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()})
    length = int.from_bytes(plain[:8], "little")
    entries = {"__metadata__": dict(sorted(metadata.items()))} | json.loads(plain[8 : 8 + length])
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the first tensor starts at a multiple of 8
    return len(header).to_bytes(8, "little") + header + plain[8 + length :]


def header_bytes(
    shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, torch.dtype], metadata: Mapping[str, str]
) -> bytes:
    """What stands in a safetensors file before its tensors, which lie in the order of `in_order`."""
    entries: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name in in_order(dtypes):
        end = at + math.prod(shapes[name]) * dtypes[name].itemsize
        entries[name] = {"dtype": DTYPE_NAMES[dtypes[name]], "shape": list(shapes[name]), "data_offsets": [at, end]}
        at = end
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header


def in_order(dtypes: Mapping[str, torch.dtype]) -> list[str]:
    """The names of a file's tensors as they lie in it: wider numbers first, so that all are aligned, then by name."""
    return sorted(dtypes, key=lambda name: (-dtypes[name].itemsize, name))


def raw_bytes(tensor: Tensor) -> memoryview:
    """A contiguous CPU tensor's bytes, not copied."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def all_finite(tensors: Mapping[str, Tensor]) -> bool:
    """Whether no tensor has an infinity or a NaN; torch cannot ask floats of one byte."""
    return all(_is_finite(tensor.float() if tensor.dtype.itemsize == 1 else tensor) for tensor in tensors.values())


def _is_finite(tensor: Tensor) -> bool:
    """A sum is finite only if all terms are: it takes less than half the time of asking each. One that is not may be of
    terms that are."""
    if tensor.is_floating_point() and math.isfinite(float(tensor.sum(dtype=torch.float32))):
        return True
    return bool(torch.isfinite(tensor).all())
