"""A safetensors file written a tensor at a time, which says in its header the hash of what comes behind it."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from limner.container.file import open_tensors
from limner.container.header import header_bytes, raw_bytes
from limner.errors import UserError

UNKNOWN = "0" * 64  # stands in the metadata for the SHA-256 of all tensors' bytes, which is as long
Shapes = Mapping[str, tuple[int, ...]]
Dtypes = Mapping[str, torch.dtype]


class Writer:
    """Takes a file's tensors one by one."""

    def __init__(self, path: Path, shapes: Shapes, dtypes: Dtypes, metadata: Mapping[str, str]) -> None:
        self._path, self._shapes, self._dtypes, self._metadata = path, shapes, dtypes, metadata
        self._digest = hashlib.sha256()
        self._stream = path.open("wb")
        self._stream.write(header_bytes(shapes, dtypes, metadata))

    def add(self, tensor: Tensor) -> None:
        """Write the next tensor in the order of `in_order`: on the CPU, of the shape and dtype that were said."""
        data = raw_bytes(tensor.contiguous())
        self._digest.update(data)
        self._stream.write(data)

    def finish(self) -> None:
        """Put the hash into the header, and read the file back. Raises UserError if the disk holds other bytes."""
        digest = self._digest.hexdigest()
        told = {name: text.replace(UNKNOWN, digest) for name, text in self._metadata.items()}
        self._stream.seek(0)
        self._stream.write(header_bytes(self._shapes, self._dtypes, told))
        self._stream.close()
        with open_tensors(self._path) as file:
            is_right = file.shapes == dict(self._shapes) and file.dtypes == dict(self._dtypes)
            if not is_right or _digest(self._path, file.data_start) != digest:
                raise UserError(f"the disk does not hold what was written into {self._path.parent}; check the disk")

    def close(self) -> None:
        self._stream.close()


@contextmanager
def writing(path: Path, shapes: Shapes, dtypes: Dtypes, metadata: Mapping[str, str]) -> Iterator[Writer]:
    """A writer whose file is finished when the block ends well."""
    writer = Writer(path, shapes, dtypes, metadata)
    try:
        yield writer
        writer.finish()
    finally:
        writer.close()


def _digest(path: Path, start: int) -> str:
    """SHA-256 of a file's bytes from there on."""
    with path.open("rb") as stream:
        stream.seek(start)
        return hashlib.file_digest(stream, "sha256").hexdigest()
