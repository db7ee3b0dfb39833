"""Where a picture's mask comes from while it is prepared: a file, its transparency, or what finds the subject."""

import posixpath
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from limner.config import PrepareSettings
from limner.data import mask
from limner.data.colour import to_srgb
from limner.data.decode import Unusable
from limner.data.listing import NO_IMAGE, SUFFIXES
from limner.data.names import Names, stem_of
from limner.data.source import Source, find_folders, find_sources, names_of
from limner.errors import UserError
from limner.inventory import Inventory
from limner.preparation.segment import Segmenter
from limner.texts import display

ENDINGS = tuple(sorted(SUFFIXES))


@dataclass(frozen=True)
class Found:
    """A picture's mask of mode "L" in its upright size; white counts. origin: where it comes from, for the report."""

    image: Image.Image
    origin: str


@dataclass(frozen=True)
class Masks:
    """Ways to a picture's mask, of which the first that yields one counts: a file, the alpha channel, a model.

    folder: of masks that have the pictures' names, in the same subfolders or in itself; after those a mask beside its
    picture counts, or in a folder "masks" there, as in training. Nothing is kept open, so that it goes to other
    processes.
    """

    files: bool = True
    folder: Path | None = None
    alpha: bool = True
    model: Segmenter | None = None

    def check(self, images: Path) -> None:
        """Raise UserError for what would fail with every picture, and for one mask that is of two of the images."""
        if self.folder is not None:
            if not self.folder.is_dir():
                raise UserError(
                    f"no folder {display(self.folder)} of masks; give the one that holds them, or leave it out"
                )
            owners: dict[Path, str] = {}
            for source in find_sources(images):
                for place in self.in_folder(source)[:1]:
                    other = owners.setdefault(place.path, source.name)
                    if other != source.name:
                        raise UserError(
                            f"{display(place.path)} could be the mask of {display(other)} or {display(source.name)}; "
                            f"put the masks into subfolders of {display(self.folder)} that are called as theirs are"
                        )
        if self.model is not None:
            self.model.check()

    def unused(self, images: Path) -> list[str]:
        """Sentences on what the folder of masks holds that is a mask of none of the images."""
        if self.folder is None:
            return []
        inventory = Inventory(())
        for folder in find_folders(self.folder):
            start = f"{folder.name}/" if folder.name else ""
            inventory.leave(NO_IMAGE, *(start + name for name in folder.listing.files))
        for source in find_sources(images):
            inventory.use(*(place.name for place in self.in_folder(source)))
        return inventory.remarks(self.folder, "mask", "masks")

    def find(self, source: Source, decoded: Image.Image, rgb: Image.Image | None = None) -> Found | None:
        """The mask of an upright picture, decoded in its file's own mode; rgb: the same as sRGB, where it is at hand.

        Raises Unusable in the picture's name, UserError for a model that fails.
        """
        for place in self.places(source):
            name = display(place.name)
            try:
                data = place.read()
            except Unusable as problem:
                raise Unusable(f"has a mask {name} that {problem}") from problem
            return Found(mask.open_mask(posixpath.basename(name), data, decoded.size), name)
        alpha = mask.alpha_of(decoded) if self.alpha else None
        if alpha is not None:
            return Found(alpha, "its transparency")
        found = self.model(rgb or to_srgb(decoded)) if self.model else None
        return Found(found, "the segmentation model") if found is not None else None

    def places(self, source: Source) -> list[Source]:
        """The files that are masks of a picture by their names, the one that counts first."""
        return [*self.in_folder(source), *(masks_beside(source) if self.files else [])]

    def in_folder(self, source: Source) -> list[Source]:
        """Those in the folder of masks: in the same subfolder as the picture, or in the folder itself."""
        if self.folder is None:
            return []
        return [place for inside in dict.fromkeys((source.folder, "")) for place in _named(self.folder, inside, source)]


def masks_of(settings: PrepareSettings) -> Masks | None:
    """The ways to masks that settings name; None if none are wanted."""
    if settings.mask_files == "none":
        return None
    label = settings.mask_label or settings.class_word
    model = Segmenter(settings.mask_model, label, settings.download_model) if settings.mask_model else None
    return Masks(folder=settings.masks, alpha=settings.alpha_masks, model=model)


def masks_beside(source: Source) -> list[Source]:
    """The masks beside a picture, then those in a folder "masks" there."""
    names = names_of(source.root, source.folder, source.archive)
    beside = _masks(names, source, with_own_names=False)
    start = f"{source.folder}/" if source.folder else ""
    found = [replace(source, name=start + name) for name in beside]
    return [*found, *_named(source.root, start + mask.FOLDER, source, source.archive)]


def _named(root: Path, folder: str, source: Source, archive: bool = False) -> list[Source]:
    """The masks of a picture in a folder of masks."""
    found = _masks(names_of(root, folder, archive), source, with_own_names=True)
    return [Source(root, f"{folder}/{name}" if folder else name, archive) for name in found]


def _masks(names: Names, source: Source, with_own_names: bool) -> list[str]:
    stem = stem_of(source.name)
    stems = [*([stem] if with_own_names else []), *(stem + ending for ending in mask.ENDINGS)]
    found = [names.find(each + suffix) for each in stems for suffix in ENDINGS]
    return [name for name in dict.fromkeys(found) if name is not None]
