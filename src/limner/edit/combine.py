"""LoRAs added up into one: `limner merge --into lora`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor

from limner.edit.factored import Factored, Kernel, factored, joined, shortened, to_tensors
from limner.edit.ingredient import Ingredient
from limner.edit.progress import Edit, Progress
from limner.edit.ranks import Budget, Energy
from limner.edit.resize import Resized
from limner.edit.written import carried, check_out, dtype_of, save_adapter
from limner.errors import UserError
from limner.files import unchanged
from limner.weights import Weights


def combine(
    ingredients: Sequence[Ingredient],
    out: Path,
    budget: Budget | None = None,
    dtype: torch.dtype | None = None,
    overwrite: bool = False,
) -> Edit[Resized]:
    """Write one LoRA that does what these do together, with their strengths in it.

    Without a budget the matrices are set side by side, so that the sum is exact up to the file's number format and a
    layer's rank is the sum of its ranks; with one each sum is approximated within it, in the layers that need it.
    Raises UserError for files that are no LoRAs, or of different families or shapes.
    """
    check_out(out, overwrite, [each.path for each in ingredients])
    with unchanged(*(each.path for each in ingredients)):
        loaded = [each.load() for each in ingredients]
        sources = [each.source() for each in ingredients]
    family = _one_family(loaded, ingredients)
    own = [weights.modules() for weights in loaded]
    names = list(dict.fromkeys(name for modules in own for name in modules))
    layers: dict[str, Factored] = {}
    energy = Energy()
    for done, name in enumerate(names):
        yield Progress(done, len(names))
        whole = joined(_parts(name, own, ingredients))
        if budget is None:
            layers[name] = whole.balanced()
            continue
        layers[name], there, kept = shortened(whole, budget)
        energy.add(name, there, kept)
    yield Progress(len(names), len(names))
    ranks = dict(sorted(Counter(layer.rank for layer in layers.values()).items()))
    told = {} if budget is None else asdict(budget)
    metadata = carried([weights.metadata for weights in loaded], "merge", sources, **told)
    dtype = dtype or dtype_of({name: tensor for weights in loaded for name, tensor in weights.tensors.items()})
    made = Weights("lora", family, to_tensors(layers, dtype), metadata, out.stem, _words(loaded, ingredients))
    saved = save_adapter(made, out, dtype, overwrite=overwrite)
    before = sum(each.path.stat().st_size for each in ingredients)
    shares = energy.shares() if budget else {"all": 1.0}
    warnings = tuple(dict.fromkeys(warning for weights in loaded for warning in weights.warnings))
    return Resized(saved.path, before, saved.size_bytes, ranks, shares, saved.faults, warnings)


def _parts(name: str, own: list[dict[str, dict[str, Tensor]]], ingredients: Sequence[Ingredient]) -> list[Factored]:
    """What each file adds to a layer. Raises UserError if the layer is not of one shape in all."""
    parts: list[Factored] = []
    shapes: list[tuple[int, int, Kernel]] = []
    for modules, ingredient in zip(own, ingredients, strict=True):
        if name not in modules:
            continue
        part = factored(modules[name], name, str(ingredient.path))
        shapes.append((len(part.up), part.down.shape[1], part.kernel))
        parts.append(part.times(ingredient.strength(name)))
        if shapes[-1] != shapes[0]:
            raise UserError(
                f"{ingredient.path} changes a layer {name} of another shape than {ingredients[0].path}; LoRAs can be "
                "merged that were made for bases of one kind"
            )
    return parts


def _one_family(loaded: list[Weights], ingredients: Sequence[Ingredient]) -> str:
    for weights, ingredient in zip(loaded, ingredients, strict=True):
        if weights.family != loaded[0].family:
            raise UserError(
                f"{ingredient.path} is for {weights.family} and {ingredients[0].path} for {loaded[0].family}; merge "
                "LoRAs of one family"
            )
    return loaded[0].family


def _words(loaded: list[Weights], ingredients: Sequence[Ingredient]) -> dict[str, dict[str, Tensor]]:
    """The embeddings that the files bring along. Raises UserError if two call different ones by one name."""
    words: dict[str, dict[str, Tensor]] = {}
    for weights, ingredient in zip(loaded, ingredients, strict=True):
        for word, vectors in weights.words.items():
            known = words.setdefault(word, vectors)
            if any(not torch.equal(known[encoder], vectors[encoder]) for encoder in vectors):
                raise UserError(f"{ingredient.path} and another bring along an embedding {word!r} each; leave one out")
    return words
