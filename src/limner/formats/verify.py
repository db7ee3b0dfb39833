"""A written file is read back the way each program reads it, and what that would do to the model is compared."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limner.base.model import BaseModel
from limner.errors import UserError
from limner.formats.factors import change
from limner.formats.header import read_header, read_tensors
from limner.formats.identify import BUNDLE
from limner.formats.layers import layers
from limner.formats.readers import READERS, Patch, Tensors
from limner.weights import Weights

# What programs make of an embedding in a LoRA's file: A1111 uses it, diffusers then refuses the whole file, and the
# others read the LoRA alone.
USE_BUNDLES = ("A1111",)
REFUSE_BUNDLES = ("diffusers",)

FLOAT32_NOISE = 1e-5  # what the order of float32 sums may add, relative to the factors' norms


@dataclass(frozen=True)
class ReaderReport:
    """What one program makes of a file.

    matched: layers that it changes as trained. unmatched: tensors of the file that it would not use, and layers that it
    would not change; in a file that is kept only embeddings inside a LoRA's. largest_error: of any layer's change,
    relative to that change's norm.
    """

    reader: str
    matched: int
    unmatched: tuple[str, ...]
    largest_error: float


def verify(path: Path, model: BaseModel, weights: Weights, name: str | None = None) -> list[ReaderReport]:
    """Read `path` as every program in READERS would, and compare what it would add to each layer with the weights.

    `name` is what messages call the file. Differences up to the rounding of the file's dtype pass. Raises UserError if
    any program would leave a tensor out, or change a layer otherwise than was trained.
    """
    name = name or str(path)
    tensors = read_tensors(path, read_header(path))
    bundled = tuple(key for key in tensors if key.startswith(BUNDLE))
    _check_words({key: tensors.pop(key) for key in bundled}, weights, name)
    known = layers(model)
    shapes = {layer.name: layer.shape for layer in known}
    trained = weights.modules()
    errors: dict[tuple[str, Patch], float] = {}  # the programs mostly agree, so that each change is computed once
    reports = []
    for reader, read in READERS.items():
        if bundled and reader in REFUSE_BUNDLES:
            continue
        reading = read(tensors, known)
        missing = [layer for layer in trained if layer not in reading.patches]
        if reading.unmatched or missing:
            raise UserError(_complaint(name, reader, [*missing, *reading.unmatched]))
        for layer, patch in reading.patches.items():
            if (layer, patch) not in errors:
                errors[layer, patch] = _error(
                    tensors, patch, trained.get(layer), shapes[layer], f"{layer} in {name}", reader
                )
        largest = max((errors[item] for item in reading.patches.items()), default=0.0)
        unused = () if reader in USE_BUNDLES else bundled
        reports.append(ReaderReport(reader, len(reading.patches), unused, largest))
    return reports


def _check_words(bundled: Tensors, weights: Weights, name: str) -> None:
    """Raise UserError unless the embeddings in a file are, up to rounding, those of the weights."""
    read = {key.split(".", 2)[1]: tensor for key, tensor in bundled.items()}
    if read.keys() != weights.words.keys():
        raise UserError(f"{name} would bring A1111 other embeddings than were trained; save the file again")
    for word, vectors in weights.words.items():
        (trained,) = (each.detach().to("cpu", torch.float32) for each in vectors.values())
        info = torch.finfo(read[word].dtype)
        allowed = info.eps / 2 * trained.abs() + info.smallest_normal * info.eps
        if read[word].shape != trained.shape or bool(((read[word].float() - trained).abs() > allowed).any()):
            raise UserError(f"A1111 would not read the embedding {word!r} in {name} as trained; save the file again")


def _error(
    tensors: Tensors, patch: Patch, factors: dict[str, Tensor] | None, shape: tuple[int, ...], where: str, reader: str
) -> float:
    """The relative error of a patch; UserError if it is more than rounding, or not of the layer's shape."""
    down, up = tensors[patch.down].float(), tensors[patch.up].float()
    wrong = f"{reader} would not change {where} as it was trained; save the file again, and report it if this recurs"
    if factors is None or (up.shape[0], *down.shape[1:]) != shape:
        raise UserError(wrong)
    read = patch.scale * (up.flatten(1) @ down.flatten(1)).reshape(shape)
    want = change(factors)
    allowed = _rounding(factors, tensors[patch.down].dtype)
    difference = float(torch.linalg.vector_norm(read - want))
    if not difference <= allowed:
        raise UserError(wrong)
    return difference / max(float(torch.linalg.vector_norm(want)), torch.finfo(torch.float32).tiny)


def _rounding(factors: dict[str, Tensor], dtype: torch.dtype) -> float:
    """The most that rounding both factors and alpha to `dtype` can move the change, in the Frobenius norm."""
    info = torch.finfo(dtype)
    norms, shifts = [], []
    for leaf in ("lora_down", "lora_up"):
        tensor = factors[leaf].detach().float()
        norm = float(torch.linalg.vector_norm(tensor))
        norms.append(norm)
        # half a unit in the last place: relative for normal numbers, absolute below the smallest of them
        shifts.append(info.eps / 2 * norm + info.smallest_normal * info.eps / 2 * tensor.numel() ** 0.5)
    scale = abs(float(factors["alpha"])) / factors["lora_down"].shape[0]
    moved = shifts[0] * norms[1] + shifts[1] * norms[0] + shifts[0] * shifts[1]
    return scale * (moved + FLOAT32_NOISE * norms[0] * norms[1])


def _complaint(name: str, reader: str, unmatched: list[str]) -> str:
    more = f" and {len(unmatched) - 1} more" if len(unmatched) > 1 else ""
    return (
        f"{name} would not work in {reader}, which finds no place for {unmatched[0]}{more}; "
        "train only layers that every program knows, as the default choice does"
    )
