"""Edits as their settings say, for the command line and the library alike; nothing is done before they are iterated."""

import torch

from limner.config import Directions, FilePrecision, MergeSettings, ResizeSettings
from limner.device import DTYPES
from limner.edit.combine import combine
from limner.edit.ingredient import Ingredient
from limner.edit.progress import Edit
from limner.edit.ranks import Budget
from limner.edit.resize import Resized, resize


def resizing(settings: ResizeSettings) -> Edit[Resized]:
    return resize(settings.lora, settings.out, _budget(settings), _dtype(settings.file_precision), settings.overwrite)


def merging(settings: MergeSettings) -> Edit[Resized]:
    ingredients = [Ingredient.parse(told) for told in (settings.base, *settings.lora)]
    budget = _budget(settings) if settings.is_given else None
    return combine(ingredients, settings.out, budget, _dtype(settings.file_precision), settings.overwrite)


def _budget(settings: Directions) -> Budget:
    return Budget(settings.rank, settings.energy, settings.ratio)


def _dtype(precision: FilePrecision | None) -> torch.dtype | None:
    return None if precision is None else DTYPES[precision]
