"""Finished files changed: LoRAs resized and added up, added to checkpoints and taken out of them, and converted."""

from limner.edit.ingredient import Ingredient
from limner.edit.progress import Edit, Progress, finish
from limner.edit.ranks import Budget
from limner.edit.resize import Resized
from limner.edit.start import merging, resizing

__all__ = ["Budget", "Edit", "Ingredient", "Progress", "Resized", "finish", "merging", "resizing"]
