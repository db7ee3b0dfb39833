"""Edits as their settings say, for the command line and the library alike; nothing is done before they are iterated."""

import torch

from limner.config import (
    ConvertSettings,
    Directions,
    ExtractSettings,
    FilePrecision,
    MergeSettings,
    ResizeSettings,
)
from limner.device import DTYPES
from limner.edit.combine import combine
from limner.edit.convert import Converted, convert
from limner.edit.extract import Extracted, extract
from limner.edit.ingredient import Ingredient
from limner.edit.merge import Merged, merge
from limner.edit.progress import Edit
from limner.edit.ranks import Budget
from limner.edit.resize import Resized, resize


def converting(settings: ConvertSettings) -> Edit[Converted]:
    dtype = _dtype(settings.file_precision)
    return convert(settings.file, settings.out, settings.to, dtype, settings.ema, settings.overwrite)


def resizing(settings: ResizeSettings) -> Edit[Resized]:
    return resize(settings.lora, settings.out, _budget(settings), _dtype(settings.file_precision), settings.overwrite)


def merging(settings: MergeSettings) -> Edit[Merged | Resized]:
    ingredients = [Ingredient.parse(told) for told in settings.lora]
    dtype = _dtype(settings.file_precision)
    if settings.into == "checkpoint":
        return merge(settings.base, ingredients, settings.out, dtype, settings.overwrite)
    budget = _budget(settings) if settings.is_given else None
    return combine([Ingredient.parse(settings.base), *ingredients], settings.out, budget, dtype, settings.overwrite)


def extracting(settings: ExtractSettings) -> Edit[Extracted]:
    return extract(
        settings.tuned,
        settings.base,
        settings.out,
        _budget(settings),
        settings.conv,
        settings.text_encoder,
        DTYPES[settings.file_precision],
        settings.overwrite,
    )


def _budget(settings: Directions) -> Budget:
    return Budget(settings.rank, settings.energy, settings.ratio)


def _dtype(precision: FilePrecision | None) -> torch.dtype | None:
    return None if precision is None else DTYPES[precision]
