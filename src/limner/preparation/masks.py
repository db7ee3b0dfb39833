"""Where a picture's mask comes from while it is prepared: a file, its transparency, or what finds the subject."""

import functools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from PIL import Image

from limner.config import PrepareSettings
from limner.data import mask
from limner.data.colour import to_srgb
from limner.data.decode import Unusable
from limner.data.listing import SUFFIXES
from limner.data.source import Source
from limner.errors import UserError
from limner.preparation.segment import Segmenter

ENDINGS = tuple(sorted(SUFFIXES))


@dataclass(frozen=True)
class Found:
    """A picture's mask of mode "L" in its upright size; white counts. origin: where it comes from, for the report."""

    image: Image.Image
    origin: str


@dataclass(frozen=True)
class Masks:
    """Ways to a picture's mask, of which the first that yields one counts: a file, the alpha channel, a model.

    folder: of masks that have the pictures' names, in the same subfolders; besides, a mask lies beside its picture or
    in a folder "masks" there, as for training. Nothing is kept open, so that it goes to other processes.
    """

    files: bool = True
    folder: Path | None = None
    alpha: bool = True
    model: Segmenter | None = None

    def check(self) -> None:
        """Raise UserError for what would fail with every picture."""
        if self.folder is not None and not self.folder.is_dir():
            raise UserError(f"no folder {self.folder} of masks; give the one that holds them, or leave it out")
        if self.model is not None:
            self.model.check()

    def find(self, source: Source, decoded: Image.Image, rgb: Image.Image | None = None) -> Found | None:
        """The mask of an upright picture, decoded in its file's own mode; rgb: the same as sRGB, where it is at hand.

        Raises Unusable in the picture's name, UserError for a model that fails.
        """
        if self.files:
            for name, data in self._beside(source):
                return Found(mask.open_mask(PurePosixPath(name).name, data, decoded.size), name)
        alpha = mask.alpha_of(decoded) if self.alpha else None
        if alpha is not None:
            return Found(alpha, "its transparency")
        found = self.model(rgb or to_srgb(decoded)) if self.model else None
        return Found(found, "the segmentation model") if found is not None else None

    def _beside(self, source: Source) -> Iterator[tuple[str, bytes]]:
        """Names and bytes of the files that are masks of a picture by their names, the nearest first."""
        for name in candidates(source.name):
            other = Source(source.root, name, source.archive)
            if _is_there(other):
                yield name, _read(other)
        if self.folder is not None:
            for name in [source.name, *_renamed(source.name)]:
                other = Source(self.folder, name)
                if _is_there(other):
                    yield name, _read(other)


def masks_of(settings: PrepareSettings) -> Masks | None:
    """The ways to masks that settings name; None if none are wanted."""
    if settings.mask_files == "none":
        return None
    label = settings.mask_label or settings.class_word
    model = Segmenter(settings.mask_model, label, settings.download_model) if settings.mask_model else None
    return Masks(folder=settings.masks, alpha=settings.alpha_masks, model=model)


def candidates(name: str) -> list[str]:
    """The names that a picture's mask may have, seen from the same root: beside it, or in a folder "masks" there."""
    path = PurePosixPath(name)
    inside = str(path.parent / mask.FOLDER / path.name)
    return [*_renamed(name)[len(SUFFIXES) :], inside, *_renamed(inside)]


def _renamed(name: str) -> list[str]:
    """A picture's name with the endings of pictures; then with those of masks before them."""
    path = PurePosixPath(name)
    start = "" if path.parent == PurePosixPath() else f"{path.parent}/"
    stems = [path.stem, *(path.stem + ending for ending in mask.ENDINGS)]
    return [f"{start}{stem}{suffix}" for stem in stems for suffix in ENDINGS]


def _is_there(source: Source) -> bool:
    return source.name in _members(source.root) if source.archive else source.path.is_file()


def _read(source: Source) -> bytes:
    try:
        return source.read()
    except Unusable as problem:
        raise Unusable(f"has a mask {source.name} that {problem}") from problem


@functools.lru_cache(maxsize=1)
def _members(path: Path) -> frozenset[str]:
    with zipfile.ZipFile(path) as archive:
        return frozenset(archive.namelist())
