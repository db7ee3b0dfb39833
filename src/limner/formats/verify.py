"""A written file is read back the way each program reads it, and what that would do to the model is compared."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limner.base.model import BaseModel
from limner.container.header import read_header, read_tensors
from limner.errors import UserError
from limner.formats.bundle import BUNDLE, bundled_name
from limner.formats.effects import effect
from limner.formats.factors import change
from limner.formats.layers import layout
from limner.formats.programs import REFUSES, Fault, faults_of
from limner.formats.readers import readers_of
from limner.formats.reading import Patch, Tensors
from limner.methods.applied import find_module, weight_of
from limner.methods.form import scale
from limner.weights import Weights

# What programs make of an embedding in a LoRA's file: A1111 uses it, diffusers then refuses the whole file, and the
# others read the LoRA alone, of whom Forge counts it with the tensors that it finds no place for.
USE_BUNDLES = ("A1111",)
REFUSE_BUNDLES = ("diffusers",)
COUNT_BUNDLES = ("Forge",)

FLOAT32_NOISE = 1e-5  # what the order of float32 sums may add, relative to the factors' norms


@dataclass(frozen=True)
class ReaderReport:
    """What one program makes of a file.

    matched: layers that it changes as trained. unmatched: tensors of the file that it would not use, and layers that it
    would not change; in the file of a plain LoRA that is kept, only embeddings inside it. largest_error: of any layer's
    change, relative to that change's norm. fault: what it is known to do wrongly with such a file, and does; "" if
    nothing.
    """

    reader: str
    matched: int
    unmatched: tuple[str, ...]
    largest_error: float
    fault: str = ""


def verify(
    path: Path,
    model: BaseModel,
    weights: Weights,
    name: str | None = None,
    known_faults: Mapping[str, Fault] | None = None,
) -> list[ReaderReport]:
    """Read `path` as every program that knows such files would, and compare what it would add to each layer with the
    weights.

    `name` is what messages call the file. Differences up to the rounding of the file's dtype pass. Raises UserError if
    any program would leave a tensor out, or change a layer otherwise than was trained, unless it is known that it does
    so, which its report then says; `known_faults` are those of kohya's layout with this form of adapter, unless given.
    """
    name = name or str(path)
    whole, metadata = read_tensors(path), read_header(path).metadata
    bundled = tuple(key for key in whole if key.startswith(BUNDLE))
    tensors = {key: tensor for key, tensor in whole.items() if key not in bundled}
    _check_words({key: whole[key] for key in bundled}, weights, name)
    known = layout(model)
    targets = _targets(model, weights, tensors)
    known_faults = faults_of(weights) if known_faults is None else known_faults
    errors: dict[tuple[str, Patch], Error] = {}  # the programs mostly agree, so that each change is computed once
    reports = []
    for reader, read in readers_of(model.family).items():
        if bundled and reader in REFUSE_BUNDLES:
            reports.append(ReaderReport(reader, 0, (*targets, *bundled), 0.0, REFUSES))
            continue
        reading = read(whole if reader in COUNT_BUNDLES else tensors, known, metadata)
        unmatched = [key for key in reading.unmatched if key not in bundled]
        missed = [layer for layer in targets if layer not in reading.patches]
        lost = [*missed, *unmatched]
        for layer, patch in reading.patches.items():
            if (layer, patch) not in errors:
                errors[layer, patch] = _error(tensors, patch, targets.get(layer))
        found = {layer: errors[layer, patch] for layer, patch in reading.patches.items()}
        wrong = [layer for layer, error in found.items() if error.is_wrong]
        if (lost or wrong) and not _is_known(known_faults.get(reader), missed, wrong, unmatched, weights):
            raise UserError(_complaint(name, reader, lost) if lost else _wrong(name, reader, wrong[0]))
        largest = max((error.relative for error in found.values()), default=0.0)
        unused = () if reader in USE_BUNDLES else bundled
        fault = known_faults[reader].words if lost or wrong else ""
        reports.append(ReaderReport(reader, len(found) - len(wrong), (*lost, *unused), largest, fault))
    return reports


@dataclass(frozen=True)
class Target:
    """A layer's weight, the change that was trained, what the file's rounded leaves make of it, and how far from that
    the order of float32 sums may lead."""

    weight: Tensor
    change: Tensor
    rounded: Tensor
    noise: float


@dataclass(frozen=True)
class Error:
    """Of a reader's change of one layer: relative to what was trained, and whether it is more than rounding."""

    relative: float
    is_wrong: bool


def _targets(model: BaseModel, weights: Weights, tensors: Tensors) -> dict[str, Target]:
    """What each trained layer should become, when its leaves are rounded to the file's dtype."""
    dtype = next((tensor.dtype for tensor in tensors.values() if tensor.dim() and tensor.is_floating_point()), None)
    targets = {}
    for name, leaves in weights.modules().items():
        module = find_module(model, name)
        nothing = torch.zeros(0)
        if module is None:  # no reader finds it either
            targets[name] = Target(nothing, nothing, nothing, 0.0)
            continue
        weight = weight_of(module).to("cpu", torch.float32)
        rounded = {leaf: tensor if leaf == "alpha" else tensor.to("cpu", dtype) for leaf, tensor in leaves.items()}
        kept = change(rounded, weight)
        targets[name] = Target(weight, change(leaves, weight), kept, FLOAT32_NOISE * _terms(leaves, weight, kept))
    return targets


def _terms(leaves: Mapping[str, Tensor], weight: Tensor, kept: Tensor) -> float:
    """The size of what is summed up to a change, in the Frobenius norm: terms may be larger than their sum."""
    if {"lora_down", "lora_up"} == leaves.keys() - {"alpha"}:
        rank = leaves["lora_down"].shape[0]
        return abs(scale(leaves, rank)) * _norm(leaves["lora_down"]) * _norm(leaves["lora_up"])
    return _norm(kept) + _norm(weight)


def _norm(tensor: Tensor) -> float:
    return float(torch.linalg.vector_norm(tensor.detach().float()))


def _is_known(fault: Fault | None, missed: list[str], wrong: list[str], unmatched: list[str], weights: Weights) -> bool:
    """Whether what a program does is what it is known to do: it touches only layers that the fault covers, and leaves
    no more tensors lying than those have."""
    if fault is None:
        return False
    modules = weights.modules()
    own = sum(len(modules[layer]) for layer in missed)
    return all(fault.covers(layer) for layer in missed + wrong) and (fault.is_whole or len(unmatched) <= own)


def _error(tensors: Tensors, patch: Patch, target: Target | None) -> Error:
    """How far a patch is from the target; infinitely if it has another shape, or nothing was trained there."""
    leaves = {leaf: tensors[key].float() for leaf, key in patch.keys}
    try:
        read = None if target is None else effect(patch.way, leaves, target.weight, patch.scale)
    except RuntimeError:  # of shapes that do not go together
        read = None
    if target is None or read is None or read.numel() != target.weight.numel():
        return Error(math.inf, True)
    read = read.reshape(target.weight.shape)
    relative = _norm(read - target.change) / max(_norm(target.change), torch.finfo(torch.float32).tiny)
    return Error(relative, not _norm(read - target.rounded) <= target.noise)


def _check_words(bundled: Tensors, weights: Weights, name: str) -> None:
    """Raise UserError unless the embeddings in a file are, up to rounding, those of the weights."""
    wanted = {
        bundled_name(word, network, len(vectors)): (word, each)
        for word, vectors in weights.words.items()
        for network, each in vectors.items()
    }
    if bundled.keys() != wanted.keys():
        raise UserError(f"{name} would bring A1111 other embeddings than were trained; save the file again")
    for key, (word, vectors) in wanted.items():
        trained, info = vectors.detach().to("cpu", torch.float32), torch.finfo(bundled[key].dtype)
        allowed = info.eps / 2 * trained.abs() + info.smallest_normal * info.eps
        if bundled[key].shape != trained.shape or bool(((bundled[key].float() - trained).abs() > allowed).any()):
            raise UserError(f"A1111 would not read the embedding {word!r} in {name} as trained; save the file again")


def _wrong(name: str, reader: str, layer: str) -> str:
    return (
        f"{reader} would not change {layer} in {name} as it was trained; save the file again, and report it if this "
        "recurs"
    )


def _complaint(name: str, reader: str, unmatched: list[str]) -> str:
    more = f" and {len(unmatched) - 1} more" if len(unmatched) > 1 else ""
    return (
        f"{name} would not work in {reader}, which finds no place for {unmatched[0]}{more}; "
        "train only layers that every program knows, as the default choice does"
    )
