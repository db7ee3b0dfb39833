"""Finished files changed: LoRAs resized and added up, added to checkpoints and taken out of them, and converted."""

from limner.edit.convert import Converted
from limner.edit.extract import Extracted
from limner.edit.merge import Merged
from limner.edit.progress import Edit, Progress
from limner.edit.resize import Resized
from limner.edit.start import converting, extracting, merging, resizing

__all__ = [
    "Converted",
    "Edit",
    "Extracted",
    "Merged",
    "Progress",
    "Resized",
    "converting",
    "extracting",
    "merging",
    "resizing",
]
