"""What the files of one folder are by their names: images, masks, captions, and what belongs to nothing."""

from collections.abc import Iterable

from limner.data import mask
from limner.data.metadata import METADATA
from limner.data.names import Names, ending_of, name_key, stem_of
from limner.inventory import Inventory

_USUAL = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"}
SUFFIXES = frozenset(_USUAL | {".avif", ".heic", ".heif", ".hif"})
# Files that a person takes for images: leaving them out without a word would look like a bug.
FOREIGN = frozenset({".jxl", ".jp2", ".psd", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"})
LOOKING = SUFFIXES | FOREIGN

CAPTIONS = (".txt", ".caption")  # endings of the files beside images, the first that is there counts
CAPTIONS_OF_KOHYA = (".caption", ".txt")
OTHER_TEXTS = {".json", ".jsonl", ".csv", ".tsv", ".xml", ".yaml", ".yml", ".toml", ".md", ".parquet", ".tags"}
# What systems, and Limner's own commands, write into folders of images: nobody misses it.
EXPECTED = {"thumbs.db", "desktop.ini", METADATA, "dataset.toml", "dataset-masked.toml", "choices.toml"}

NO_IMAGE = "no image has that name"
ANOTHER = "its image has another caption file, which counts"
ANOTHER_MASK = "its image has another mask, which counts"
NO_CAPTIONS = "captions are read from {endings} files and from metadata.jsonl"
NO_IMAGES = "they are not images that Limner reads"


class Listing:
    """One folder's files, by name; hidden ones are passed over.

    images: what is or looks like an image, without masks of others; masks: those, by their names.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.files = sorted(name for name in names if not name.startswith("."))
        looking = [name for name in self.files if ending_of(name) in LOOKING]
        owners = {name_key(stem_of(name)) for name in looking if mask.picture_of(stem_of(name)) is None}
        masks = {name for name in looking if name_key(mask.picture_of(stem_of(name)) or "") in owners}
        self.images = [name for name in looking if name not in masks]
        self.masks = [name for name in looking if name in masks]
        self.names = Names(self.files, self.images)
        self.stems = {stem_of(name) for name in self.images}

    def caption(self, image: str, endings: tuple[str, ...]) -> str | None:
        """The caption file of an image; see Names.beside."""
        return self.names.beside(image, endings)

    def account(self, inventory: Inventory, endings: tuple[str, ...] = CAPTIONS, inside: str = "") -> None:
        """Add the files to an inventory: those that belong to images as used, the others with the reason.

        endings: of caption files. inside: the folder's path from where the names shall start, ending in a slash.
        """
        used = {*self.images, *self.masks, *(self.caption(name, endings) for name in self.images)}
        for name in self.files:
            if name in used or name.lower() in EXPECTED:
                inventory.use(inside + name)
            else:
                inventory.leave(self._reason(name, endings), inside + name)

    def _reason(self, name: str, endings: tuple[str, ...]) -> str:
        ending = ending_of(name)
        if ending in endings:
            return ANOTHER if self.names.has_image(name) else NO_IMAGE
        if ending in CAPTIONS or ending in OTHER_TEXTS:
            return NO_CAPTIONS.format(endings=" and ".join(endings))
        return NO_IMAGES
