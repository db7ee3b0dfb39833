"""Files that other programs open, written, verified and read back."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from limner.base.families import FAMILIES
from limner.base.model import BaseModel
from limner.container.header import SUFFIX, read_header
from limner.errors import UserError
from limner.files import elsewhere, new_file, write_text
from limner.formats import picture
from limner.formats.checkpoint import Checkpoint
from limner.formats.dotted import Dotted
from limner.formats.embedding import Embedding, Token
from limner.formats.format import Format
from limner.formats.identify import kind
from limner.formats.inspect import Summary, inspect
from limner.formats.kohya import Kohya
from limner.formats.metadata import Description
from limner.formats.verify import ReaderReport, verify
from limner.plugins import load, registered
from limner.weights import Weights

__all__ = [
    "Description", "ReaderReport", "Saved", "Summary", "formats", "inspect", "load_weights", "save_weights", "verify",
]  # fmt: skip


DEFAULT_FORMATS = {
    "lora": Kohya.name,
    "embedding": Embedding.name,
    "checkpoint": Checkpoint.name,
}  # of each kind of weights


@dataclass(frozen=True)
class Saved:
    """A finished file and what each program makes of it (empty if nobody asked for verification)."""

    path: Path
    size_bytes: int
    reports: list[ReaderReport]


def formats() -> dict[str, type[Format]]:
    """Every format by name: those built in, and those that other packages register as `limner.formats`."""
    return _registered() | {each.name: each for each in (Kohya, Dotted, Embedding, Token, Checkpoint)}


@functools.cache
def _registered() -> dict[str, type[Format]]:
    return {name: load(entry, Format) for name, entry in registered("limner.formats").items()}


def save_weights(
    weights: Weights,
    path: Path,
    format: str | None = None,
    dtype: torch.dtype | None = torch.float16,
    model: BaseModel | None = None,
    check: Callable[[Path], None] | None = None,
    *,
    overwrite: bool = True,
    is_ours: Callable[[Path], bool] = lambda _: False,
    option: str | None = None,
) -> Saved:
    """Write the weights as one file, whole or not at all; with a model, the file is verified before it takes its name.

    format: by name; None takes the one that programs expect of this kind of weights. check: looks at the file before it
    takes its name, and raises UserError if it shall not. dtype: None leaves a checkpoint's numbers as they are.
    overwrite, is_ours, option: as of limner.files.new_file; without `overwrite`, or if a folder has the name, the path
    that is returned is another.

    Raises UserError for a path that cannot be written or does not end in .safetensors, for weights that the format
    cannot hold, and for a file that any program would read wrongly (which is then not kept).
    """
    writers = {name: each for name, each in formats().items() if hasattr(each, "serialize") or hasattr(each, "write")}
    if format is None:
        is_lora = weights.kind == "lora" and weights.family in FAMILIES
        format = FAMILIES[weights.family].lora_format if is_lora else DEFAULT_FORMATS[weights.kind]
    if format not in writers:
        raise UserError(f"no format {format!r} to write {path} in; use {' or '.join(writers)}")
    if path.suffix != SUFFIX:
        raise UserError(f"{path} does not end in {SUFFIX}, by which other programs find it; use {path.stem}{SUFFIX}")
    writer = writers[format]
    verify_it = getattr(writer, "verify", verify)
    try:
        beside: dict[str, str] = getattr(writer, "beside", lambda _: {})(weights)
        with new_file(path, overwrite, option, is_ours=is_ours, beside=() if overwrite else tuple(beside)) as new:
            if hasattr(writer, "write"):
                writer.write(weights, new.temporary, path.stem, dtype)
            else:
                new.temporary.write_bytes(writer.serialize(weights, path.stem, dtype))
            if check is not None:
                check(new.temporary)
            reports = [] if model is None else verify_it(new.temporary, model, weights, str(path))
        for suffix, text in beside.items():
            write_text(new.path.with_suffix(suffix), text)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}; {elsewhere(option)}") from error
    return Saved(new.path, new.path.stat().st_size, reports)


def load_weights(path: Path) -> Weights:
    """Read a file of any known layout, told by its contents; UserError, with the reason, if it is of none."""
    if picture.is_png(path):
        return picture.load(path)
    header = read_header(path)
    for format in formats().values():
        if format.sniff(header):
            return format.load(path)
    raise UserError(
        f"{path} is not a LoRA, embedding or checkpoint that Limner reads (it looks like: {kind(header)}); "
        "use one of kohya's or diffusers' layout"
    )
