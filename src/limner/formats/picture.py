"""The webui's image embeddings: a PNG with the vectors in a text chunk, or in the low bits of strips at its sides.

The chunk `sd-ti-embedding` is base64 of JSON, tensors in it lists of lists as {"TORCHTENSOR": ...} (interop 2.1). The
strips hold the same JSON, compressed: half a byte in each number of a pixel, first the low halves at the left edge,
then the high ones at the right, the low four bits of either hidden by a fixed random sequence, and each strip divided
from the picture by a column whose low bits are all zero (interop 2.2). Whatever a picture says is bounded before it is
unpacked, and is only ever taken for JSON.
"""

import base64
import binascii
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from limner.errors import UserError
from limner.formats.embedding import of_tensors
from limner.weights import Weights

START = b"\x89PNG\r\n\x1a\n"
CHUNK = "sd-ti-embedding"
TENSOR = "TORCHTENSOR"
MAX_PIXELS = 16 * 2**20
MAX_JSON = 8 * 2**20  # bytes; 75 vectors of 2048 numbers are 3.5 MB
_MULTIPLIER, _INCREMENT, _CYCLE = 1664525, 1013904223, 255  # of the random sequence

Numbers = NDArray[Any]


def is_png(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(START)) == START
    except OSError:
        return False  # what is wrong with it is told by whoever reads it next


def load(path: Path) -> Weights:
    """The embedding in a picture; as that of any file it is called by the file's name. Raises UserError."""
    try:
        with Image.open(path, formats=("PNG",)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise UserError(f"{path} is larger than any picture with an embedding; use its .safetensors file")
            image.load()
            text = getattr(image, "text", {}).get(CHUNK)
            packed = _from_chunk(text) if text else _from_strips(np.asarray(image.convert("RGB")))
    except (
        OSError,
        ValueError,
        SyntaxError,
        MemoryError,
        UnidentifiedImageError,
        Image.DecompressionBombError,
    ) as error:
        raise UserError(f"{path} is a damaged picture ({error}); copy or download it again") from error
    if packed is None:
        raise UserError(f"{path} is a picture without an embedding in it; use a file of weights")
    try:
        entries = json.loads(packed)
        inner = entries.get("string_to_param", entries)
        tensors = {str(name): _tensor(value) for name, value in inner.items() if _is_tensor(value)}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} has an embedding in it that cannot be read; use its .safetensors file") from error
    return of_tensors(tensors, path)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, dict) and TENSOR in value


def _tensor(value: dict[str, Any]) -> Tensor:
    return torch.tensor(value[TENSOR], dtype=torch.float32)


def _from_chunk(text: str) -> bytes | None:
    """The JSON in a text chunk, None if it is none or too long."""
    if len(text) > MAX_JSON * 4 // 3 + 4:
        return None
    try:
        return base64.b64decode(str(text), validate=True)
    except (binascii.Error, ValueError):
        return None


def _from_strips(pixels: Numbers) -> bytes | None:
    """The JSON in the low bits of strips at the sides of a picture (height, width, 3), None if there is none."""
    halves = _without_black(pixels) & 0x0F
    dividers = np.flatnonzero(halves.sum(axis=(0, 2), dtype=np.int64) == 0)
    if len(dividers) < 2:
        return None
    low, high = (_revealed(block) for block in (halves[:, : dividers[0]], halves[:, dividers[-1] + 1 :]))
    if not low.size or low.shape != high.shape:
        return None
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress((low | high << 4).tobytes(), MAX_JSON)
    except zlib.error:
        return None
    return found if unpacker.eof else None


def _without_black(pixels: Numbers) -> Numbers:
    """The picture without a frame of pixels that have a number of zero."""
    bright = (pixels > 0).all(axis=2)
    rows, columns = (np.flatnonzero(np.any(bright, axis=axis)) for axis in (1, 0))
    if not len(rows):
        return pixels[:0]
    return pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _revealed(block: Numbers) -> Numbers:
    """A strip without the random sequence that hides it."""
    return np.bitwise_xor(block, hiding(block.size).reshape(block.shape))


def hiding(count: int) -> Numbers:
    """The first numbers, 0 to 15, of the sequence s -> a s + c mod 2^32 from 0, taken mod 255 and then 16."""
    powers = np.full(count, _MULTIPLIER, dtype=np.uint32)
    powers[:1] = 1
    with np.errstate(over="ignore"):
        sums = np.add.accumulate(np.multiply.accumulate(powers, dtype=np.uint32), dtype=np.uint32)
        states = sums * np.uint32(_INCREMENT)
    return (states % _CYCLE).astype(np.uint8) & 0x0F
