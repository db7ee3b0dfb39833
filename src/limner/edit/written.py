"""Edited files: where they may go, what they say of their making, and that they hold what was meant."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from limner.base.layout import INDEX
from limner.container.header import SUFFIX
from limner.edit.factored import factored
from limner.edit.readers import faults_in
from limner.errors import UserError
from limner.files import lies_in, require_not_read, require_writable, sha256_file
from limner.formats import load_weights, save_weights
from limner.methods.form import form_of
from limner.weights import Weights

# Endings by which somebody means a file.
FILES = {SUFFIX, ".ckpt", ".pt", ".pth", ".bin", ".gguf", ".onnx", ".zip", ".png", ".jpg", ".jpeg", ".webp"}
EDITS = "limner.edits"  # the metadata's entry with what was done to a file since its training
# Entries that describe the file itself, so that they are made anew for the next.
_OF_THE_FILE = (
    "ss_output_name", "ss_network_module", "ss_network_dim", "ss_network_alpha", "ss_network_args", "sshs_model_hash",
    "sshs_legacy_hash", "modelspec.hash_sha256", "modelspec.implementation", "modelspec.title", "format",
    "lora_adapter_metadata",
)  # fmt: skip


@dataclass(frozen=True)
class Source:
    """A file that went into another: its name without folders, and with which strengths, if it has any."""

    name: str
    sha256: str
    weight: float | None = None
    text_weight: float | None = None

    @classmethod
    def of(cls, path: Path, weight: float | None = None, text_weight: float | None = None) -> "Source":
        return cls(path.name, sha256_file(path), weight, text_weight)


def check_out(out: Path, overwrite: bool, sources: Sequence[Path] = (), is_folder: bool = False) -> None:
    """Raise UserError unless an edit may write a file here, or a folder in diffusers' layout, before time is spent."""
    if not is_folder and out.suffix != SUFFIX:
        raise UserError(f"{out} does not end in {SUFFIX}, by which other programs find it; correct its name")
    if is_folder and out.suffix.lower() in FILES:
        raise UserError(f"{out} is the name of a file, and a folder is to be written; leave out {out.suffix}")
    if not is_folder and out.is_dir():
        raise UserError(f"{out} is a folder; give the name of a file")
    require_not_read(out, sources)
    if is_folder and any(source.is_dir() and lies_in(out, source) for source in sources):
        raise UserError(f"{out} lies in the folder that is read; give a folder outside of it")
    if out.exists() and is_folder and not (out / INDEX).is_file():
        raise UserError(f"{out} is there already and no model in diffusers' layout; give another name")
    if out.exists() and not overwrite:
        raise UserError(f"{out} is there already; give another name, or say --overwrite")
    require_writable(out / INDEX if is_folder else out)


def carried(
    metadata: Sequence[dict[str, str]], command: str, sources: Sequence[Source], **facts: object
) -> dict[str, str]:
    """What files say of their making, as far as they all say the same, and what is now done with them."""
    first, *others = metadata
    kept = {
        name: text
        for name, text in first.items()
        if name not in _OF_THE_FILE and all(other.get(name) == text for other in others)
    }
    words = dict.fromkeys(each.get("modelspec.trigger_phrase", "") for each in metadata)
    if any(words):
        kept["modelspec.trigger_phrase"] = ", ".join(word for word in words if word)
    told = [{name: value for name, value in asdict(each).items() if value is not None} for each in sources]
    entry = {"command": command, "files": told} | {name: value for name, value in facts.items() if value is not None}
    return kept | {EDITS: json.dumps([*_earlier(first if not others else {}), entry], sort_keys=True)}


def _earlier(metadata: dict[str, str]) -> list[object]:
    try:
        said = json.loads(metadata.get(EDITS, "[]"))
    except (ValueError, RecursionError):
        return []
    return said if isinstance(said, list) else []


def dtype_of(tensors: dict[str, Tensor]) -> torch.dtype:
    """The number format of a file's tensors: that of the most numbers, half precision if it is one no file has."""
    sizes: dict[torch.dtype, int] = {}
    for tensor in tensors.values():
        sizes[tensor.dtype] = sizes.get(tensor.dtype, 0) + tensor.numel()
    found = max(sizes, key=lambda dtype: sizes[dtype])
    if found == torch.float64:
        return torch.float32
    return found if found in (torch.float16, torch.bfloat16, torch.float32) else torch.float16


@dataclass(frozen=True)
class Written:
    """An adapter's finished file. path: another than was asked for if something had that by then. faults: {program:
    what it makes of it, where that is wrong}."""

    path: Path
    size_bytes: int
    faults: dict[str, str]


def save_adapter(
    weights: Weights, out: Path, dtype: torch.dtype, format: str | None = None, *, overwrite: bool
) -> Written:
    """Write an adapter's file, and read it back before it takes its name. Raises UserError if it holds other changes
    than were meant, by more than the rounding of its numbers."""
    check = lambda path: _check(path, weights, dtype, out)  # noqa: E731
    saved = save_weights(weights, out, format, dtype, check=check, overwrite=overwrite)
    return Written(saved.path, saved.size_bytes, faults_in(saved.path, weights))


def _check(path: Path, weights: Weights, dtype: torch.dtype, out: Path) -> None:
    read = load_weights(path)
    if read.kind == "embedding":
        found, meant = {"": read.tensors}, {"": weights.tensors}
    else:
        found, meant = read.modules() | _words(read), weights.modules() | _words(weights)
    if found.keys() != meant.keys():
        layer = min(found.keys() ^ meant.keys())
        raise UserError(f"{out} would not hold {layer} as it should; report this, with what it was made of")
    for layer, leaves in meant.items():
        form = form_of(leaves)
        if form is not None and form.name == "lora":
            one, other = factored(leaves, layer, str(out)), factored(found[layer], layer, str(out))
            error, size = _distance(one.up, one.down, other.up, other.down), _terms(one.up, one.down)
            if one.bias is not None:
                error = max(error, size * _off(one.bias, other.bias))
        else:
            error, size = max(_off(tensor, found[layer].get(leaf)) for leaf, tensor in leaves.items()), 1.0
        if not error <= 2 * torch.finfo(dtype).eps * size + torch.finfo(dtype).tiny:
            raise UserError(f"{out} would not hold {layer} as it should; report this, with what it was made of")


def _words(weights: Weights) -> dict[str, dict[str, Tensor]]:
    return {f"the embedding {word}": vectors for word, vectors in weights.words.items()}


def _distance(up: Tensor, down: Tensor, other_up: Tensor, other_down: Tensor) -> float:
    """The norm of the difference of two products, without forming them: of the triangle of their joint factors."""
    left = torch.linalg.qr(torch.cat([up, -other_up], dim=1).double()).R
    right = torch.linalg.qr(torch.cat([down, other_down]).double().t()).R
    return float(torch.linalg.matrix_norm(left @ right.t()))


def _terms(up: Tensor, down: Tensor) -> float:
    """What is summed up to a product, in size: its terms may be larger than their sum."""
    return float(torch.linalg.vector_norm(up, dim=0).double() @ torch.linalg.vector_norm(down, dim=1).double())


def _off(tensor: Tensor, read: Tensor | None) -> float:
    """The largest difference, relative to the largest number."""
    if read is None or read.numel() != tensor.numel():
        return float("inf")
    largest = float(tensor.float().abs().max().clamp(min=torch.finfo(torch.float32).tiny))
    return float((tensor.float().cpu().flatten() - read.float().flatten()).abs().max()) / largest
