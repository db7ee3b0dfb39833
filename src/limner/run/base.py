"""The base of a training: named before anything else, and not the small built-in one for photographs by accident."""

from collections.abc import Sequence

from limner.base import pocket
from limner.base.announce import about_base
from limner.config import Settings
from limner.data.folder import Picture
from limner.errors import UserError
from limner.evaluate.online import some
from limner.evaluate.photograph import are_photographs
from limner.events import UsingBase

MOST_LOOKED_AT = 16  # images of a set


def using(base: str) -> UsingBase:
    """What a training says first."""
    return UsingBase(base, about_base(base))


def is_by_default(settings: Settings) -> bool:
    """Whether settings with a base have the built-in one because nobody said another."""
    return getattr(settings, "base", "") == pocket.NAME and "base" not in settings.model_fields_set


def require_drawings(settings: Settings, pictures: Sequence[Picture]) -> None:
    """Raise UserError if these are photographs, and the base is the built-in one by default."""
    if is_by_default(settings) and are_photographs([picture.open() for picture in some(pictures, MOST_LOOKED_AT)]):
        raise UserError(PHOTOGRAPHS)


PHOTOGRAPHS = (
    f"these are photographs, and the built-in base {pocket.NAME!r} is a small demo model that only knows simple "
    "drawings; name a Stable Diffusion model with --base path/to/model.safetensors (limner search finds some), or say "
    f"--base {pocket.NAME} to train on it all the same"
)
