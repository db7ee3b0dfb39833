"""The seam of formats: how a file of weights is recognised, read and, by some, written."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from limner.container.header import Header
from limner.plugins import PlugIn
from limner.weights import Weights


class Format(PlugIn, ABC):
    """A layout of files. A subclass is one file, and outside of Limner one entry point of "limner.formats".

    name: by which it is asked for. One that can write has `serialize(weights, name, dtype) -> bytes`, or
    `write(weights, path, name, dtype)` for files too large to be whole in memory; it may have a `verify(path, model,
    weights, name)` of its own in place of that for LoRAs, and `beside(weights)`, what is to stand beside the file, text
    by suffix. All is static: a format has no state.
    """

    name: ClassVar[str]
    serialize: ClassVar[Callable[..., bytes]]
    write: ClassVar[Callable[..., None]]
    verify: ClassVar[Callable[..., list]]  # of ReaderReport
    beside: ClassVar[Callable[..., dict[str, str]]]

    @staticmethod
    @abstractmethod
    def sniff(header: Header) -> bool:
        """Whether a file with this header is of this format."""

    @staticmethod
    @abstractmethod
    def load(path: Path) -> Weights:
        """What a file of this format holds. Raises UserError."""
