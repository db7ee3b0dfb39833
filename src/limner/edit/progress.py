"""How far a long edit is: edits are generators of this, and return what they made."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """`done` of `total` layers, or tensors, are through."""

    done: int
    total: int


Edit = Generator[Progress, None, T]
