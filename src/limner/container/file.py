"""Any file of named tensors, told by its content: what it declares, and one tensor at a time, whatever else it holds.

Nothing in a file is run, and nothing in it is believed before it is checked against the file's own size.
"""

import io
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from limner.container import archive, legacy, safetensors
from limner.container.places import Contents, Place, Refused
from limner.errors import UserError, is_out_of_memory

MAX_REPEATS = 4  # all tensors may have so many times the file's bytes: some share theirs, and a view can repeat them
CHUNK = 2**17  # numbers that are converted at once
HALVES = {torch.float16, torch.bfloat16}
SLACK_BYTES = 2**20  # on top of that, for files of next to nothing


@dataclass(frozen=True)
class Header:
    """What a file of tensors declares. shapes, dtypes: of each tensor by name. metadata: a safetensors file's texts.

    extras: of a pickle, the plain values beside the tensors, such as `global_step` or an embedding's `name`.
    data_start: bytes before the first tensor's of a safetensors file, 0 of a pickle.
    """

    path: Path
    shapes: dict[str, tuple[int, ...]]
    dtypes: dict[str, torch.dtype]
    metadata: dict[str, str] = field(default_factory=dict)
    extras: dict[str, Any] = field(default_factory=dict)
    data_start: int = 0


@dataclass(frozen=True)
class TensorFile(Header):
    """A header, and the open file behind it."""

    places: Mapping[str, Place] = field(default_factory=dict, repr=False)
    stream: io.RawIOBase | None = field(default=None, repr=False)
    _scratch: list[Tensor] = field(default_factory=lambda: [torch.empty(0, dtype=torch.uint8)], repr=False)

    def get(self, name: str) -> Tensor:
        """The tensor of one of the names in `shapes`, on the CPU in the file's dtype, contiguous, its memory its own.

        Only this tensor's bytes are read. Raises UserError if the file ends too early.
        """
        place = self.places[name]
        try:
            flat = torch.empty(place.extent, dtype=place.dtype)
            if place.extent:
                self._fill(flat.view(torch.uint8).numpy().data, place)
            return flat.as_strided(place.shape, place.stride).contiguous()
        except (OSError, RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise
            raise UserError(f"cannot read {name} of {self.path} ({error}); copy or download it again") from error

    def get_as(
        self, name: str, dtype: torch.dtype, memory_format: torch.memory_format = torch.contiguous_format
    ) -> Tensor:
        """A tensor as `get` reads it, in another dtype or memory format: made in one pass over the bytes, which go
        through memory that is used again for the next."""
        place = self.places[name]
        is_last = memory_format == torch.channels_last and len(place.shape) == 4
        if dtype == place.dtype and not is_last:
            return self.get(name)
        try:
            if not is_last:
                flat = self._convert(place, torch.empty(place.extent, dtype=dtype))
                return flat.as_strided(place.shape, place.stride).contiguous()
            size = place.extent * dtype.itemsize
            if len(self._scratch[0]) < size:
                self._scratch[0] = torch.empty(size, dtype=torch.uint8)
            flat = self._convert(place, self._scratch[0][:size].view(dtype))
            return flat.as_strided(place.shape, place.stride).clone(memory_format=memory_format)
        except (OSError, RuntimeError, MemoryError) as error:
            if is_out_of_memory(error):
                raise
            raise UserError(f"cannot read {name} of {self.path} ({error}); copy or download it again") from error

    def _convert(self, place: Place, into: Tensor) -> Tensor:
        """Fill a flat tensor with a place's numbers, in chunks that stay in the processor's cache."""
        raw = torch.empty(min(len(into), CHUNK), dtype=place.dtype)
        # torch converts between the two half precisions several times faster by way of this
        between = torch.empty(len(raw) if {place.dtype, into.dtype} == HALVES else 0)
        for at in range(0, len(into), CHUNK):
            here = into[at : at + CHUNK]
            read = raw[: len(here)]
            self._fill(read.view(torch.uint8).numpy().data, place, at * place.dtype.itemsize)
            here.copy_(between[: len(here)].copy_(read) if len(between) else read)
        return into

    def _fill(self, buffer: memoryview, place: Place, skip: int = 0) -> None:
        """Read a place's bytes, but for the first few."""
        start = place.start + skip
        if place.data is not None:
            buffer[:] = place.data[start : start + len(buffer)]
            return
        assert self.stream is not None
        self.stream.seek(start)
        done = 0
        while done < len(buffer):
            count = self.stream.readinto(buffer[done:])
            if not count:
                raise OSError("the file ends too early")
            done += count


@contextmanager
def open_tensors(path: Path) -> Iterator[TensorFile]:
    """Open a safetensors file or one of torch.save's, zipped or of the years before, whatever its name ends with.

    Tensors have the names of the `state_dict` in a pickle, or else of all the dictionaries on the way, joined by dots,
    as in "string_to_param.*". Raises UserError, one sentence with the reason, for any other file, for one that is
    damaged or lies about itself, and for a pickle that asks for anything but tensors and plain values.
    """
    try:
        stream = path.open("rb", buffering=0)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; check its name and permissions") from error
    with stream:
        try:
            contents = _contents(stream)
            _check_sum(contents, _size(stream))
        except Refused as refused:
            raise UserError(f"{path} {refused.reason}; {refused.advice}") from refused
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}; check its permissions") from error
        yield TensorFile(
            path,
            shapes={name: place.shape for name, place in contents.places.items()},
            dtypes={name: place.dtype for name, place in contents.places.items()},
            metadata=contents.metadata,
            extras=contents.extras,
            data_start=contents.data_start,
            places=contents.places,
            stream=stream,
        )


# How files begin that people take for weights, what is wrong with them, and what to do about it.
_OTHERS = {
    b"GGUF": ("is a GGUF file, whose weights are quantized", "use the .safetensors file that it was made from"),
    b"version https://git-lfs": (
        "is a pointer of Git LFS, not the file itself",
        "download the file, or run git lfs pull",
    ),
    b"<!doctype html": (
        "is a web page, so that its download failed",
        "log in where it is offered and download it again",
    ),
    b"<html": ("is a web page, so that its download failed", "log in where it is offered and download it again"),
    b"\x89HDF\r\n": ("is an HDF5 file, as Keras writes weights", "use a .safetensors file of the same model"),
    b"7z\xbc\xaf": ("is a 7z archive", "unpack it first"),
    b"Rar!": ("is a RAR archive", "unpack it first"),
}


def _contents(stream: io.FileIO) -> Contents:
    start = stream.read(32)
    for beginning, told in _OTHERS.items():
        if start.lstrip().lower().startswith(beginning.lower()):
            raise Refused(*told)
    if start.startswith(archive.START):
        return archive.read(stream, _size(stream))
    if legacy.is_legacy(start):
        return legacy.read(stream, _size(stream))
    return safetensors.read(stream, _size(stream))


def _size(stream: io.FileIO) -> int:
    at = stream.tell()
    size = stream.seek(0, io.SEEK_END)
    stream.seek(at)
    return size


def _check_sum(contents: Contents, size: int) -> None:
    """Raise Refused if reading every tensor would take far more than the file has bytes, of memory or of reading: a
    view can repeat its elements, or lie far apart."""
    total = sum(max(math.prod(place.shape), place.extent) * place.dtype.itemsize for place in contents.places.values())
    if total > MAX_REPEATS * size + SLACK_BYTES:
        raise Refused(f"declares {total:,} bytes of tensors in a file of {size:,}", "do not trust it")
