"""Files of other formats and number formats made of files: `limner convert`."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from limner.base.find import find_base
from limner.container.header import read_header
from limner.edit.progress import Edit, Progress
from limner.edit.rewrite import rewrite
from limner.edit.stored import Stored, open_stored
from limner.edit.written import Source, carried, check_out, dtype_of, save_adapter
from limner.errors import UserError
from limner.files import unchanged
from limner.formats import load_weights, picture
from limner.formats.checkpoint import Checkpoint
from limner.formats.diffusers import size_of
from limner.formats.embedding import Token
from limner.weights import Weights

DIFFUSERS = "diffusers"  # of LoRAs dotted names, of an embedding its token as its name, of a checkpoint a folder


@dataclass(frozen=True)
class Converted:
    """A file or folder. kind: of its weights. faults: {program: what it makes of a LoRA, where that is wrong}.
    warnings: sentences on the file that was read, such as what of it is not used."""

    path: Path
    kind: str
    size_before: int
    size_bytes: int
    faults: dict[str, str]
    warnings: tuple[str, ...] = ()


def convert(
    source: str | Path,
    out: Path,
    to: str | None = None,
    dtype: torch.dtype | None = None,
    ema: Literal["drop", "use"] = "drop",
    overwrite: bool = False,
) -> Edit[Converted]:
    """Write what a file, or a checkpoint's folder, holds in another format.

    to: the format by name; by default that which programs expect of such a file, and for a checkpoint a folder if `out`
    has no ending. dtype: by default as it was. ema: whether a checkpoint's averages take the place of its weights.
    Raises UserError if it is of no known format, or that format cannot hold it.
    """
    path = Path(source).expanduser()
    if not path.is_file() or (not picture.is_png(path) and Checkpoint.sniff(read_header(path))):
        return _convert_checkpoint(source, out, to, dtype, ema, overwrite)
    if ema == "use":
        raise UserError(f"{path} is no checkpoint and holds no averages of one; leave out --ema")
    return _convert_adapter(path, out, to, dtype, overwrite)


def _convert_adapter(
    path: Path, out: Path, to: str | None, dtype: torch.dtype | None, overwrite: bool
) -> Edit[Converted]:
    """A LoRA, one of its kin, or an embedding, which fit into memory."""
    check_out(out, overwrite, [path])
    yield Progress(0, 1)
    with unchanged(path):
        weights = load_weights(path)
        metadata = carried([weights.metadata], "convert", [Source.of(path)])
    made = Weights(weights.kind, weights.family, weights.tensors, metadata, weights.name, weights.words)
    by_token = weights.kind == "embedding" and to == DIFFUSERS
    format = Token.name if by_token else to
    saved = save_adapter(made, out, dtype or _dtype_in(path, weights), format, overwrite=overwrite)
    yield Progress(1, 1)
    return Converted(saved.path, weights.kind, path.stat().st_size, saved.size_bytes, saved.faults, weights.warnings)


def _dtype_in(path: Path, weights: Weights) -> torch.dtype:
    """The number format of a file, of which an embedding's tensors are read as float32."""
    if weights.kind != "embedding":
        return dtype_of(weights.tensors)
    if picture.is_png(path):
        return torch.float32
    return dtype_of({name: torch.empty(0, dtype=dtype) for name, dtype in read_header(path).dtypes.items()})


def _convert_checkpoint(
    source: str | Path, out: Path, to: str | None, dtype: torch.dtype | None, ema: str, overwrite: bool
) -> Edit[Converted]:
    path = find_base(source)
    into_folder = to == DIFFUSERS or (to is None and not out.suffix)
    if to not in (None, DIFFUSERS, Checkpoint.name):
        raise UserError(f"{path} is a checkpoint, which {to} cannot hold; use --to {Checkpoint.name} or {DIFFUSERS}")
    check_out(out, overwrite, [path], into_folder)
    with open_stored(path, averages=ema == "use") as stored:
        get = _averages(stored) if ema == "use" else stored.get
        metadata = carried([stored.metadata], "convert", [stored.source()], averages=True if ema == "use" else None)
        written = yield from rewrite(stored, out, get, dtype, metadata, into_folder, overwrite)
        before = stored.size_bytes
    return Converted(written, "checkpoint", before, size_of(written), {}, stored.warnings)


def _averages(stored: Stored) -> Callable[[str], Tensor]:
    """What gives the UNet's averages in place of its weights. Raises UserError if the file has none."""
    names = {name: stored.average(name) for name in stored.names if name.startswith("unet.")}
    if missing := [name for name, key in names.items() if key is None]:
        raise UserError(f"{stored.path} has no averages of its weights, as of {missing[0]}; leave out --ema")

    def get(name: str) -> Tensor:
        return stored.get(name, names.get(name))

    return get
