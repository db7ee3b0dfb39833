"""Where tensors lie in a file, and what every container checks about them."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch

MAX_TENSORS = 20_000  # a whole XL model with its averages and an optimizer's state has some 10,000
MAX_DIMENSIONS = 16
MAX_NAME = 300  # characters

# By safetensors' names. A pickle may hold tensors of these dtypes and no others.
DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "F8_E5M2": torch.float8_e5m2,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2FNUZ": torch.float8_e5m2fnuz,
    "F8_E4M3FNUZ": torch.float8_e4m3fnuz,
    "F8_E8M0": torch.float8_e8m0fnu,
    "I16": torch.int16,
    "U16": torch.uint16,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I32": torch.int32,
    "U32": torch.uint32,
    "F32": torch.float32,
    "C64": torch.complex64,
    "F64": torch.float64,
    "I64": torch.int64,
    "U64": torch.uint64,
}
DTYPE_NAMES = {dtype: name for name, dtype in DTYPES.items()}


class Refused(Exception):
    """What is wrong with a file, to stand behind its name, and what to do about it."""

    def __init__(self, reason: str, advice: str = "copy or download it again") -> None:
        super().__init__(reason)
        self.reason, self.advice = reason, advice


@dataclass(frozen=True)
class Place:
    """Where a tensor lies. start: the first element's offset in bytes, in the file or in `data`. stride: in elements,
    none negative."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    start: int
    data: bytes | None = None

    @property
    def extent(self) -> int:
        """Elements from the first to the last, both counted."""
        return extent(self.shape, self.stride)


@dataclass
class Contents:
    """What a container holds."""

    places: dict[str, Place]
    metadata: dict[str, str] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    data_start: int = 0


def extent(shape: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Elements that a view spans in its storage."""
    if 0 in shape:
        return 0
    return 1 + sum((length - 1) * step for length, step in zip(shape, stride, strict=True))


def contiguous(shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a tensor without gaps."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def check_name(name: object) -> str:
    """The name of a tensor. Raises Refused if it could not stand in a sentence."""
    if not isinstance(name, str) or len(name) > MAX_NAME or not name.isprintable():
        raise Refused("holds a tensor whose name is no plain text", "do not trust it")
    return name


def readable(text: str) -> str:
    """A stranger's text as part of a sentence: short, and without characters that act on a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text[:80]) + ("..." if len(text) > 80 else "")
