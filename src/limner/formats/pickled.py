"""Embeddings of older programs, pickled: the webui's `.pt` and diffusers' `.bin`. Nothing in them is ever run."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch.nn import ParameterDict

from limner.errors import UserError
from limner.formats.embedding import of_tensors
from limner.weights import Weights

MAX_BYTES = 64 * 2**20  # 75 vectors are 300 kB; some files carry an optimizer's state as well
_STARTS = (b"PK\x03\x04", b"\x80\x02")  # of a zip archive and of a pickle, as torch writes them


def is_pickle(path: Path) -> bool:
    """Whether a file begins as torch's do, whatever its name."""
    try:
        with path.open("rb") as stream:
            return stream.read(4).startswith(_STARTS)
    except OSError:
        return False  # what is wrong with it is told by whoever reads it next


def load(path: Path) -> Weights:
    """The embedding in a file, by torch's reader of plain tensors, which refuses anything that would run code."""
    if path.stat().st_size > MAX_BYTES:
        raise UserError(f"{path} is too large for an embedding; use a .safetensors file of what it holds")
    try:
        with torch.serialization.safe_globals([ParameterDict]):
            data = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise UserError(f"{path} holds more than tensors, or is damaged; use a .safetensors file instead") from error
    if not isinstance(data, Mapping):
        raise UserError(f"{path} is not an embedding; use another file")
    return of_tensors(data, path)
