"""A checkpoint written anew in the layout that it has, tensor by tensor, so that it is never whole in memory."""

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from limner.base.families import UNETS
from limner.base.original import BUFFERS
from limner.container import open_tensors
from limner.container.header import all_finite, header_bytes, in_order, raw_bytes
from limner.edit.progress import Edit, Progress
from limner.edit.stored import Stored, StoredFile
from limner.errors import UserError
from limner.files import atomic_path
from limner.formats.hashes import hash_file
from limner.formats.metadata import complete
from limner.weights import Weights

UNKNOWN = "0" * 64  # stands for a hash until it is known
Compute = Callable[[StoredFile, str, torch.dtype], Tensor]  # what a key of a file is to hold, in that dtype


class Writer:
    """A safetensors file written a tensor at a time, in the order of `in_order(dtypes)`."""

    def __init__(
        self,
        path: Path,
        shapes: Mapping[str, tuple[int, ...]],
        dtypes: Mapping[str, torch.dtype],
        metadata: Mapping[str, str],
    ) -> None:
        """The hash of all tensors' bytes takes the place of UNKNOWN in the metadata."""
        self.path, self._shapes, self._dtypes, self._metadata = path, shapes, dtypes, metadata
        self._digest = hashlib.sha256()
        self._stream = path.open("wb")
        self._stream.write(header_bytes(shapes, dtypes, metadata))

    def add(self, key: str, tensor: Tensor) -> None:
        """Write the next tensor. Raises UserError if it holds numbers that are not finite."""
        tensor = tensor.contiguous()
        if tensor.is_floating_point() and not all_finite({key: tensor}):
            raise UserError(
                f"{key} would hold numbers that {str(tensor.dtype).removeprefix('torch.')} cannot; use a "
                "--file-precision of a wider range, as bf16 or fp32, or a lower strength"
            )
        data = raw_bytes(tensor)
        self._digest.update(data)
        self._stream.write(data)

    def finish(self) -> None:
        """Put the hash into the header, and read the file back. Raises UserError if the disk holds other bytes."""
        told = {
            name: text.replace(UNKNOWN, self._digest.hexdigest()) if UNKNOWN in text else text
            for name, text in self._metadata.items()
        }
        self._stream.seek(0)
        self._stream.write(header_bytes(self._shapes, self._dtypes, told))
        self._stream.close()
        with open_tensors(self.path) as file:
            is_right = dict(file.shapes) == dict(self._shapes) and dict(file.dtypes) == dict(self._dtypes)
            if not is_right or hash_file(self.path, file.data_start).tensors != self._digest.hexdigest():
                raise UserError(
                    f"the disk does not hold what was written to {self.path.parent}; check it, and try again"
                )

    def close(self) -> None:
        self._stream.close()


@contextmanager
def writing(
    path: Path, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, torch.dtype], metadata: Mapping[str, str]
) -> Iterator[Writer]:
    """A writer whose file is finished when the block ends well."""
    writer = Writer(path, shapes, dtypes, metadata)
    try:
        yield writer
        writer.finish()
    finally:
        writer.close()


def rewrite(
    stored: Stored,
    out: Path,
    compute: Compute,
    dtype: torch.dtype | None,
    metadata: Mapping[str, str],
    keep: Callable[[str], bool] = lambda key: True,
) -> Edit[int]:
    """Write a checkpoint in the layout it has, a file as a file and a folder as a folder; returns its size in bytes.

    dtype: of all weights, by default what each had. metadata: of a single file, made whole here. keep: whether a key of
    a file goes along. Raises UserError if it cannot be written, or not in that number format.
    """
    total, done = sum(len(file.file.shapes) for file in stored.files), 0
    with _placed(stored, out) as place:
        for file in stored.files:
            shapes = {key: shape for key, shape in file.file.shapes.items() if keep(key)}
            dtypes = {key: chosen_dtype(key, file.file.dtypes[key], dtype) for key in shapes}
            told = _whole(stored, metadata, out) if stored.path.is_file() else file.file.metadata
            target = (
                place / file.inside.with_name(file.inside.name.replace(".fp16.", ".")) if file.inside.name else place
            )
            with writing(target, shapes, dtypes, told) as writer:
                for key in in_order(dtypes):
                    yield Progress(done, total)
                    writer.add(key, compute(file, key, dtypes[key]).reshape(shapes[key]))
                    done += 1
        yield Progress(total, total)
    return sum(path.stat().st_size for path in ([out] if out.is_file() else out.rglob("*")) if path.is_file())


def chosen_dtype(key: str, own: torch.dtype, wanted: torch.dtype | None) -> torch.dtype:
    """The number format of a tensor in the file: whole numbers, and tables beside the weights, stay as they are."""
    return own if wanted is None or not own.is_floating_point or BUFFERS.match(key) else wanted


def _whole(stored: Stored, metadata: Mapping[str, str], out: Path) -> dict[str, str]:
    """The metadata of a single file, with what every one must say."""
    family = stored.family
    said = complete(Weights("checkpoint", family.name, {}, dict(metadata)), UNETS[family.name], out.stem)
    return said | {"sshs_model_hash": UNKNOWN, "modelspec.hash_sha256": f"0x{UNKNOWN}"}


@contextmanager
def _placed(stored: Stored, out: Path) -> Iterator[Path]:
    """Where to write: a file, or a folder with everything but the weights; it takes its name when the block ends."""
    if stored.path.is_file():
        with atomic_path(out) as temporary:
            yield temporary
        return
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name[:40]}.") as place:
            made = Path(place) / "model"
            shutil.copytree(stored.path, made, ignore=_weights_of(stored))
            yield made
            if out.exists():
                out.replace(Path(place) / "before")
            made.replace(out)
    except OSError as error:
        raise UserError(f"cannot write {out}: {error.strerror}; choose another place with --out") from error


def _weights_of(stored: Stored) -> Callable[[str, list[str]], list[str]]:
    """What not to copy: the networks' weights, in whatever format and variant, and whole models at the top."""
    places = {str(stored.path), *(str(stored.path / part) for part in stored.family.networks)}
    endings = (".safetensors", ".bin", ".ckpt", ".msgpack", ".onnx", ".onnx_data", ".pb", ".h5")

    def ignored(folder: str, names: list[str]) -> list[str]:
        return [name for name in names if name.startswith(".") or (folder in places and name.endswith(endings))]

    return ignored
