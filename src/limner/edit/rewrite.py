"""A checkpoint written anew, as a single file or as a folder, tensor by tensor, so that it is never whole in memory."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Tensor

from limner.base import folder, pocket, single
from limner.base.published import PADS
from limner.base.weight_files import ENDINGS, plain_name
from limner.container.header import all_finite, in_order
from limner.container.writer import writing
from limner.edit.progress import Edit, Progress
from limner.edit.stored import Stored
from limner.errors import UserError
from limner.files import new_file, new_folder, write_text
from limner.formats.checkpoint import Checkpoint, Layout, metadata_of
from limner.formats.diffusers import write_folder
from limner.weights import KEPT, Weights

Get = Callable[[str], Tensor]  # what a name of limner.weights is to become


def rewrite(
    stored: Stored,
    out: Path,
    get: Get,
    dtype: torch.dtype | None,
    metadata: Mapping[str, str],
    into_folder: bool,
    overwrite: bool,
) -> Edit[Path]:
    """Write a checkpoint; returns where: at another path than `out` if something had that by then.

    dtype: of all weights, by default what each had. metadata: of a single file, completed here. A folder that was one
    keeps everything but the weights. Raises UserError if it cannot be written, or not in that number format, or if what
    is read was changed meanwhile.
    """
    if not into_folder:
        return _write_file(stored, out, get, dtype, metadata, overwrite)
    write = _copy_folder if stored.path.is_dir() else _make_folder
    return write(stored, out, get, dtype, overwrite)


def _write_file(
    stored: Stored, out: Path, get: Get, dtype: torch.dtype | None, metadata: Mapping[str, str], overwrite: bool
) -> Edit[Path]:
    configs = stored.configs()
    empty = {name: torch.empty(stored.shape(name), dtype=stored.dtype(name), device="meta") for name in stored.names}
    weights = Weights("checkpoint", stored.family.name, empty, dict(metadata))
    weights.metadata[single.ARCHITECTURE] = json.dumps(configs, sort_keys=True)
    if stored.path.is_file():
        empty |= {f"{KEPT}{key}": tensor for key, tensor in single.kept(stored.path, configs).items()}
    layout = Layout(empty, configs, dtype)
    beside = Checkpoint.beside(weights)
    with new_file(out, overwrite, beside=() if overwrite else tuple(beside)) as new:
        with writing(new.temporary, layout.shapes, layout.dtypes, metadata_of(weights, configs, out.stem)) as writer:
            for done, key in enumerate(in_order(layout.dtypes)):
                yield Progress(done, len(layout.shapes))
                writer.add(_finite(key, layout.tensor(key, get)))
        yield Progress(len(layout.shapes), len(layout.shapes))
        stored.require_unchanged()
    for suffix, text in beside.items():
        write_text(new.path.with_suffix(suffix), text)
    return new.path


def _make_folder(stored: Stored, out: Path, get: Get, dtype: torch.dtype | None, overwrite: bool) -> Edit[Path]:
    """Of a single file: configurations as it says or as they are published, CLIP's vocabulary."""
    pads = PADS.get(stored.family.name, {})
    tokenizers = {
        encoder.name: folder.load_tokenizer(pocket.FOLDER, "tokenizer", pads.get(encoder.name))
        for encoder in stored.family.encoders
    }
    stored.require_whole()
    total = len(stored.names)
    with new_folder(out, overwrite) as new:
        dtype_of = lambda name: dtype or stored.dtype(name)  # noqa: E731
        names = write_folder(new.temporary, stored.family, stored.configs(), tokenizers, get, dtype_of)
        for done, _ in enumerate(names):
            yield Progress(done, total)
        yield Progress(total, total)
        stored.require_unchanged()
    return new.path


def _copy_folder(stored: Stored, out: Path, get: Get, dtype: torch.dtype | None, overwrite: bool) -> Edit[Path]:
    """Of a folder: the same files with other weights, those of each network in one file."""
    done = 0
    with new_folder(out, overwrite) as new:
        made = new.temporary
        shutil.copytree(stored.path, made, ignore=_weights_of(stored))
        for each in stored.parts:
            file, names = each.file, {key: own[0][0] for key, own in each.own.items()}
            dtypes = {key: dtype if dtype and own.is_floating_point else own for key, own in file.dtypes.items()}
            target = made / each.part / plain_name(each.part)
            with writing(target, file.shapes, dtypes, {"format": "pt"} | file.metadata) as writer:
                for key in in_order(dtypes):
                    yield Progress(done, len(stored.names))
                    tensor = get(names[key]) if key in names else file.get(key)
                    writer.add(_finite(key, tensor.to(dtypes[key])))
                    done += 1
        yield Progress(done, done)
        stored.require_unchanged()
    return new.path


def _finite(key: str, tensor: Tensor) -> Tensor:
    """The tensor. Raises UserError if it holds numbers that are not finite."""
    if tensor.is_floating_point() and not all_finite({key: tensor}):
        raise UserError(
            f"{key} would hold numbers that {tensor.dtype} cannot; use --file-precision bf16 or fp32, a lower "
            "strength, or another file if these do not help"
        )
    return tensor


def _weights_of(stored: Stored) -> Callable[[str, list[str]], list[str]]:
    """What not to copy: the networks' weights, in whatever format and variant, and whole models at the top."""
    places = {str(stored.path), *(str(stored.path / part) for part in stored.family.networks)}

    def ignored(place: str, names: list[str]) -> list[str]:
        left = [name for name in names if place in places and (name.endswith(ENDINGS) or ".index." in name)]
        return [*left, *(name for name in names if name.startswith("."))]

    return ignored
