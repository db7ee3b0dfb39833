"""Adapters added to a checkpoint's weights: `limner merge`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from limner.base.find import find_base
from limner.container.header import SUFFIX
from limner.edit.ingredient import Ingredient
from limner.edit.progress import Edit
from limner.edit.rewrite import rewrite
from limner.edit.stored import Stored, open_stored
from limner.edit.written import carried, check_out
from limner.errors import UserError
from limner.files import unchanged
from limner.formats.diffusers import size_of
from limner.methods.applied import bias_sum, fits, write_sum
from limner.methods.form import Part, form_of


@dataclass(frozen=True)
class Merged:
    """A checkpoint's file or folder. layers: that it has otherwise than its base. left_out: embeddings that the files
    bring along, which a checkpoint cannot. warnings: sentences on the files, such as what else of them is not in it."""

    path: Path
    size_bytes: int
    layers: int
    left_out: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def merge(
    base: str | Path,
    ingredients: Sequence[Ingredient],
    out: Path,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
) -> Edit[Merged]:
    """Write a checkpoint that is what its base is with these files applied, LoRAs or any of their kin.

    Each file's change is that of the base's own weight, and all are added up before rounding, as prompts' tags have it.
    dtype: of the weights, by default what each was. Only one tensor is in memory at a time, beside the files. Averages
    of the weights (EMA), which nothing was added to, are left out. Of a float8 base the result has 16 bits, for most
    changes are smaller than float8's steps. Of a folder a folder is made, unless `out` is the name of a file. Raises
    UserError if a file is not for this base.
    """
    path = find_base(base)
    into_folder = path.is_dir() and out.suffix != SUFFIX
    check_out(out, overwrite, [path, *(each.path for each in ingredients)], into_folder)
    with open_stored(path, is_widened=True) as stored:
        with unchanged(*(each.path for each in ingredients)):
            parts, words, remarks = _parts(stored, ingredients)
            sources = [stored.source(), *(each.source() for each in ingredients)]

        def get(name: str) -> Tensor:
            original = stored.get(name)
            layer, _, leaf = name.rpartition(".")
            return _added(original, leaf, parts[layer], dtype or original.dtype) if layer in parts else original

        metadata = carried([stored.metadata], "merge", sources)
        made = yield from rewrite(stored, out, get, dtype, metadata, into_folder, overwrite)
    warnings = [*stored.warnings, *dict.fromkeys(remarks)]
    if stored.is_float8:
        warnings.append(
            f"{path} has float8 weights, whose steps are larger than most changes: they are written in fp16"
        )
    if not parts:
        warnings.append(f"with strengths of 0 nothing was added: {out} draws what {path} does")
    return Merged(made, size_of(made), len(parts), tuple(words), tuple(warnings))


def _added(original: Tensor, leaf: str, parts: list[Part], dtype: torch.dtype) -> Tensor:
    """A layer's weight or bias with changes in it, rounded as a model's is that they are applied to."""
    if leaf == "bias":
        return bias_sum(original, parts).to(dtype)
    made = torch.empty(original.shape, dtype=dtype)
    write_sum(made, original.contiguous(), parts)
    return made


def _parts(stored: Stored, ingredients: Sequence[Ingredient]) -> tuple[dict[str, list[Part]], list[str], list[str]]:
    """{layer: what is added to it}, the names of embeddings on the way, and warnings of the files. Raises UserError."""
    parts: dict[str, list[Part]] = {}
    words: list[str] = []
    warnings: list[str] = []
    for ingredient in ingredients:
        weights = ingredient.load()
        if weights.family != stored.family.name:
            title = stored.family.title
            raise UserError(
                f"{ingredient.path} is for {weights.family}, but {stored.path} is {title}; use another base"
            )
        modules = weights.modules()
        wrong = []
        for layer, leaves in modules.items():
            weight, bias = (
                stored.shape(name) if name in stored.names else None for name in (f"{layer}.weight", f"{layer}.bias")
            )
            form = form_of(leaves)
            if form is None or weight is None or not fits(leaves, weight, bias):
                wrong.append(layer)
            elif strength := ingredient.strength(layer):
                parts.setdefault(layer, []).append(Part(form, leaves, strength))
        if wrong:
            raise UserError(
                f"{ingredient.path} does not fit {stored.path}: {len(wrong)} of its {len(modules)} layers are not "
                f"there or have another shape, {wrong[0]} for one; use the base it was made for"
            )
        words += weights.words
        warnings += weights.warnings
    return parts, words, warnings
