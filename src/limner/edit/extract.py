"""A LoRA taken out of a fine-tuned checkpoint, of what it does otherwise than its base: `limner extract`."""

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from limner.base.find import find_base
from limner.base.single import ARCHITECTURE
from limner.container.header import all_finite
from limner.device import generator
from limner.edit.factored import Factored, cut, to_tensors
from limner.edit.progress import Edit, Progress
from limner.edit.ranks import Budget, Energy
from limner.edit.stored import Stored, open_stored
from limner.edit.written import carried, check_out, save_adapter
from limner.errors import UserError
from limner.methods.family import is_chosen
from limner.methods.principal import Directions, main_directions
from limner.weights import Weights

MOST = 128  # directions of a layer, unless a rank says another number: more is as large as what it was taken from
# Matrices up to so many rows or columns are taken apart whole. Measured on one core: 640 x 640 in 40 ms, in 10-30 ms by
# random projections; 1280 x 1280 in 620 ms, in 10-50 ms, which lose less than 0.02% of the energy that could be kept.
WHOLE = 640


@dataclass(frozen=True)
class Extracted:
    """A LoRA's file. ranks: {rank: number of layers}. energy: the share that it holds of what changed in its layers, in
    squared length, by block of the model and in "all". left_out: the shares of everything that changed which lie in
    parts that it does not cover, by what they are. faults: {program: what it makes of it, where that is wrong}.
    warnings: what there is to be said of the two models, in sentences."""

    path: Path
    size_bytes: int
    ranks: dict[int, int]
    energy: dict[str, float]
    left_out: dict[str, float]
    faults: dict[str, str]
    warnings: tuple[str, ...] = ()


def extract(
    tuned: str | Path,
    base: str | Path,
    out: Path,
    budget: Budget,
    conv: bool = False,
    text_encoder: bool = False,
    dtype: torch.dtype = torch.float16,
    overwrite: bool = False,
) -> Edit[Extracted]:
    """Write a LoRA that makes a base what a checkpoint is, as well as the budget allows.

    conv: take the UNet's other layers too, as a LoCon's. text_encoder: take the text encoders'. Both models are read a
    tensor at a time. Raises UserError if they are not of one kind, or do not differ where a LoRA could.
    """
    check_out(out, overwrite, [find_base(tuned), find_base(base)])
    with open_stored(tuned) as new, open_stored(base) as old:
        names = _shared(new, old)
        layers: dict[str, Factored] = {}
        energy = Energy()
        rest: dict[str, float] = defaultdict(float)
        for done, name in enumerate(names):
            yield Progress(done, len(names))
            change = _change(new, old, name)
            there = float(torch.linalg.vector_norm(change)) ** 2
            if not math.isfinite(there):
                raise UserError(_not_finite(new, old, name))
            kind = _kind(name, change.dim(), conv, text_encoder)
            if kind:
                rest[kind] += there
            elif there or name.startswith("text_encoder"):
                layer = name.removesuffix(".weight")
                layers[layer], kept = _taken(change, there, budget)
                energy.add(layer, there, kept)
        yield Progress(len(names), len(names))
        _drop_unchanged_encoders(layers)
        if not layers:
            raise UserError(_nothing(new, old, rest))
        metadata = carried([_said(new)], "extract", [new.source(), old.source()], **asdict(budget))
        new.require_unchanged()
        old.require_unchanged()
        metadata |= {"ss_sd_model_name": old.path.name}
        family, warnings = new.family.name, [*new.warnings, *old.warnings, *_about_float8(new, old)]
    ranks = dict(sorted(Counter(layer.rank for layer in layers.values() if layer.rank).items()))
    weights = Weights("lora", family, to_tensors(layers, dtype), metadata, out.stem)
    saved = save_adapter(weights, out, dtype, overwrite=overwrite)
    total = energy.there["all"] + sum(rest.values())
    left_out = {kind: rest[kind] / total for kind in sorted(rest, key=lambda kind: -rest[kind]) if rest[kind]}
    return Extracted(saved.path, saved.size_bytes, ranks, energy.shares(), left_out, saved.faults, tuple(warnings))


def _shared(new: Stored, old: Stored) -> list[str]:
    """The names to compare, in the order of the file. Raises UserError if the two models are not of one kind."""
    if new.family is not old.family:
        raise UserError(
            f"{new.path} is {new.family.title}, and {old.path} is {old.family.title}; give the base that it was tuned "
            "from"
        )
    names = [name for name in new.names if name in old.names and new.dtype(name).is_floating_point]
    for name in names:
        if new.shape(name) != old.shape(name):
            raise UserError(
                f"{name} is {new.shape(name)} in {new.path} and {old.shape(name)} in {old.path}; give the base that it "
                "was tuned from"
            )
    lone = [name for name in new.names.keys() ^ old.names.keys() if not name.startswith("vae.") and _counts(name)]
    if lone:
        lacking = old if lone[0] in new.names else new
        raise UserError(f"{lacking.path} lacks {min(lone)}, which the other has; use two whole models of one kind")
    return names


def _counts(name: str) -> bool:
    """Whether a tensor is a weight, and not a table of positions that only some files have."""
    return not name.endswith("position_ids")


def _change(new: Stored, old: Stored, name: str) -> Tensor:
    """What was tuned, float32: as the coarser of both files' number formats has it, for in a finer one what rounding
    did to every weight would count as tuned."""
    found = [stored.get(name) for stored in (new, old)]
    coarser = max((tensor.dtype for tensor in found), key=lambda dtype: torch.finfo(dtype).eps)
    tuned, base = (tensor.to(coarser).float() for tensor in found)
    return tuned - base


def _about_float8(new: Stored, old: Stored) -> list[str]:
    """That what rounding did to weights that were scaled for float8 cannot be told from what tuning did."""
    return [
        f"{stored.path} has float8 weights with scales, so that what their rounding changed is in the LoRA too; a "
        "model in fp16 or bf16 gives a better one"
        for stored in (new, old)
        if any(each.file.scaled for each in stored.parts)
    ]


def _not_finite(new: Stored, old: Stored, name: str) -> str:
    """Which of the two files is to blame."""
    broken = old if all_finite({name: new.get(name)}) else new
    return f"{broken.path} holds numbers that are not finite in {name}; use another file"


def _kind(name: str, dimensions: int, conv: bool, text_encoder: bool) -> str:
    """What a weight is that is left out; "" of one to take."""
    network, _, path = name.removesuffix(".weight").partition(".")
    if network == "vae":
        return "the VAE"
    if dimensions < 2 or not name.endswith(".weight"):
        return "norms and biases"
    if network == "unet" and is_chosen(path, "all"):
        return "" if conv or is_chosen(path, "attention+mlp") else "convolutions"
    if network != "unet" and path.startswith("encoder.layers."):
        return "" if text_encoder else "the text encoder"
    return "embeddings and ends"


def _taken(change: Tensor, there: float, budget: Budget) -> tuple[Factored, float]:
    """A change's longest directions, and their squared length."""
    matrix, kernel = change.flatten(1), tuple(change.shape[2:])
    count = min(budget.rank or MOST, *matrix.shape)
    if not there:
        return Factored(matrix[:, :0], matrix[:0], kernel), 0.0
    if min(matrix.shape) <= WHOLE or 2 * count >= min(matrix.shape):
        found = Directions(*torch.linalg.svd(matrix, full_matrices=False))
    else:
        found = main_directions(matrix, count, generator(0))
    lengths = found.lengths[:count]
    rank = budget.rank_of(lengths, there)
    return cut(found, rank, kernel), float(lengths[:rank].double().square().sum())


def _drop_unchanged_encoders(layers: dict[str, Factored]) -> None:
    """Of a text encoder that changed somewhere all layers stay, as readers expect; of one that did not, none."""
    changed = {name.partition(".")[0] for name, layer in layers.items() if layer.rank}
    for name in [name for name in layers if name.partition(".")[0] not in changed]:
        del layers[name]


def _said(stored: Stored) -> dict[str, str]:
    """What a checkpoint says of its making, without what it says of itself."""
    own = (ARCHITECTURE, "modelspec.architecture")
    return {name: text for name, text in stored.metadata.items() if name not in own}


def _nothing(new: Stored, old: Stored, rest: Mapping[str, float]) -> str:
    """Why there is no LoRA to take out."""
    changed = [kind for kind, size in rest.items() if size]
    if not changed:
        return f"{new.path} and {old.path} hold the same weights, so there is nothing to take out; give another base"
    options = {"convolutions": "--conv", "the text encoder": "--text-encoder"}
    ways = [options[kind] for kind in changed if kind in options]
    advice = f"add {' and '.join(ways)}" if ways else "a LoRA cannot hold those"
    return f"{new.path} differs from {old.path} only in {', '.join(changed)}; {advice}"
