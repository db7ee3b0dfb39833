"""The safetensors container: its header read with bounds before anything in it is believed, and bytes that repeat."""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from limner.errors import UserError

MAX_HEADER_BYTES = 16 * 2**20  # the container allows 100 MB: enough to exhaust memory with entries of a few bytes each
DTYPE_NAMES = {torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}
SUFFIX = ".safetensors"  # the ending by which every other program finds and opens the file


@dataclass(frozen=True)
class Header:
    """What a safetensors file declares. shapes: of each tensor. dtypes: by the container's names, as in "F16"."""

    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, str]
    metadata: dict[str, str]
    data_start: int  # bytes before the first tensor's


def read_header(path: Path) -> Header:
    """The header of a safetensors file, whatever its name ends with.

    Raises UserError if the file cannot be opened, is no safetensors file, or declares more than MAX_HEADER_BYTES.
    """
    try:
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            size = path.stat().st_size
            if not 2 <= length <= size - 8:
                raise UserError(f"{path} is not a safetensors file, or its end is missing; copy or download it again")
            if length > MAX_HEADER_BYTES:
                raise UserError(f"{path} declares a header of {length:,} bytes, which no LoRA needs; do not trust it")
            entries = json.loads(stream.read(length))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its name and permissions") from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{path} is not a safetensors file: its header is not JSON; copy or download it again"
        ) from error
    try:
        metadata = entries.pop("__metadata__", {})
        return Header(
            shapes={name: tuple(int(n) for n in entry["shape"]) for name, entry in entries.items()},
            dtypes={name: str(entry["dtype"]) for name, entry in entries.items()},
            metadata={str(name): str(text) for name, text in metadata.items()},
            data_start=8 + length,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path} has a damaged safetensors header; copy or download it again") from error


def read_tensors(path: Path, header: Header, ending: str = "") -> dict[str, Tensor]:
    """The tensors whose names end with `ending`, on the CPU in the file's dtypes; UserError if the file is damaged."""
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in header.shapes if name.endswith(ending)}
    except (SafetensorError, OSError, ValueError, RuntimeError) as error:
        raise UserError(f"{path} is a damaged safetensors file ({error}); copy or download it again") from error


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


def write_tensors(
    path: Path,
    tensors: Iterable[tuple[str, Tensor]],
    shapes: Mapping[str, tuple[int, ...]],
    dtype: torch.dtype,
    metadata: Mapping[str, str],
) -> None:
    """Write a safetensors file a tensor at a time: contiguous ones on the CPU, of one dtype, in the order of `shapes`'
    sorted names. It is what `serialize` would give, without ever being whole in memory."""
    entries: dict[str, object] = {"__metadata__": dict(sorted(metadata.items()))}
    at = 0
    for name in sorted(shapes):
        end = at + math.prod(shapes[name]) * dtype.itemsize
        entries[name] = {"dtype": DTYPE_NAMES[dtype], "shape": list(shapes[name]), "data_offsets": [at, end]}
        at = end
    header = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    with path.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        for _, tensor in tensors:
            stream.write(raw_bytes(tensor))


def raw_bytes(tensor: Tensor) -> memoryview:
    """A contiguous CPU tensor's bytes, not copied."""
    return tensor.reshape(-1).view(torch.uint8).numpy().data


def all_finite(tensors: Mapping[str, Tensor]) -> bool:
    return all(bool(torch.isfinite(tensor).all()) for tensor in tensors.values())
