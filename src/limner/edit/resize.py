"""A LoRA of fewer directions: `limner resize`."""

from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from limner.edit.factored import Factored, factored, shortened, to_tensors
from limner.edit.ingredient import Ingredient
from limner.edit.progress import Edit, Progress
from limner.edit.ranks import Budget, Energy
from limner.edit.written import Source, carried, check_out, dtype_of, save_adapter
from limner.errors import UserError
from limner.files import unchanged
from limner.weights import Weights


@dataclass(frozen=True)
class Resized:
    """A LoRA's file after an edit. energy: the share of the changes' squared lengths that it keeps, by block of the
    model and in "all". ranks: {rank: number of layers}. faults: {program: what it makes of it, where that is wrong}.
    warnings: what of the file that was read is not in it."""

    path: Path
    size_before: int
    size_bytes: int
    ranks: dict[int, int]
    energy: dict[str, float]
    faults: dict[str, str]
    warnings: tuple[str, ...] = ()


def resize(
    file: Path, out: Path, budget: Budget, dtype: torch.dtype | None = None, overwrite: bool = False
) -> Edit[Resized]:
    """Write a LoRA's best approximation within a budget; dtype: of the file, by default as it was.

    Of each layer the singular directions are found in its two thin matrices, so that no whole weight is ever formed.
    Raises UserError if the file is no LoRA, or would not become smaller in any layer.
    """
    check_out(out, overwrite, [file])
    with unchanged(file):
        weights, source = Ingredient(file).load(), Source.of(file)
    modules = weights.modules()
    layers: dict[str, Factored] = {}
    energy, shorter = Energy(), False
    for done, (name, leaves) in enumerate(modules.items()):
        yield Progress(done, len(modules))
        whole = factored(leaves, name, str(file))
        layers[name], there, kept = shortened(whole, budget)
        shorter |= layers[name].rank < whole.rank
        energy.add(name, there, kept)
    yield Progress(len(modules), len(modules))
    if not shorter:
        raise UserError(f"{file} has no layer of more directions than that, so it would stay as it is; ask for fewer")
    ranks = dict(sorted(Counter(layer.rank for layer in layers.values()).items()))
    metadata = carried([weights.metadata], "resize", [source], **asdict(budget))
    dtype = dtype or dtype_of(weights.tensors)
    made = Weights("lora", weights.family, to_tensors(layers, dtype), metadata, out.stem, weights.words)
    saved = save_adapter(made, out, dtype, overwrite=overwrite)
    size = file.stat().st_size
    return Resized(saved.path, size, saved.size_bytes, ranks, energy.shares(), saved.faults, weights.warnings)
