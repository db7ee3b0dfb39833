"""A folder of images, each checked by decoding it once: what cannot be used is skipped, with the reason."""

import hashlib
import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from limner.data import mask, metadata
from limner.data.caption_marks import CaptionMarks
from limner.data.colour import to_srgb
from limner.data.decode import Unusable, check, decode, read, read_again
from limner.data.listing import ANOTHER_MASK, CAPTIONS, FOREIGN, NO_IMAGE, SUFFIXES, Listing
from limner.data.mask import Mask, MaskNames
from limner.data.names import ending_of, name_key, stem_of
from limner.errors import UserError
from limner.inventory import Inventory, named
from limner.texts import UnknownEncoding, decode_text, display

MAX_CAPTION_BYTES = 1 << 16
KINDS = "PNG, JPEG, WebP, AVIF, HEIC, BMP, TIFF or GIF"


@dataclass(frozen=True)
class Picture:
    """An image file that can be decoded. sha256: of its bytes. Width and height in pixels, upright."""

    path: Path
    sha256: str
    width: int
    height: int
    caption: str | None = None
    mask: Mask | None = None

    def open(self) -> Image.Image:
        """The picture as upright sRGB of mode "RGB".

        Raises UserError if the file is no longer the one that was checked: what is computed from these pixels is
        filed under `sha256`.
        """
        return to_srgb(decode(read_again(self.path, self.sha256)))


@dataclass(frozen=True)
class Skipped:
    """A file that was left out. reason: completes the sentence "<path> ..."."""

    path: Path
    reason: str


@dataclass(frozen=True)
class ImageFolder:
    """The usable pictures of a folder, by name, and the files that were left out.

    remarks: sentences on everything else that is there and not used, or not used as it was meant.
    """

    folder: Path
    pictures: list[Picture]
    skipped: list[Skipped]
    remarks: list[str] = field(default_factory=list)


def load_folder(
    folder: Path,
    captions: tuple[str, ...] = CAPTIONS,
    masks: Path | Iterable[Path] | None = None,
    alpha_masks: bool = False,
) -> ImageFolder:
    """Check every image of a folder (not of its subfolders), in order of their names.

    Hidden files are passed over. captions: endings of their files; an image that has none of these has its caption in
    a metadata.jsonl of the folder or the one above. masks: folders of them, the first counts that has one; else they
    lie beside the images or in a subfolder "masks". alpha_masks: whether an image without one has it in its alpha
    channel. Raises UserError if a folder is missing or not one image of it can be used.
    """
    listing, inside = list_folder(folder, "images")
    masks = [masks] if isinstance(masks, Path) else list(masks or ())
    files = _Files(folder, listing, inside, captions, masks, alpha_masks)
    pictures: list[Picture] = []
    skipped: list[Skipped] = []
    for name in listing.images:
        try:
            pictures.append(files.examine(name))
        except Unusable as problem:
            skipped.append(Skipped(folder / name, str(problem)))
    if not pictures:
        _nothing(folder, skipped, inside)
    return ImageFolder(folder, pictures, skipped, files.remarks())


def list_folder(folder: Path, what: str) -> tuple[Listing, list[str]]:
    """The files of a folder, and its subfolders by name, hidden ones left out. Raises UserError."""
    if not folder.exists():
        raise UserError(f"no folder {display(folder)}; give the folder that holds your {what}")
    if not folder.is_dir():
        raise UserError(f"{display(folder)} is a file; give the folder that holds your {what}")
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir()) for entry in entries]
    except OSError as error:
        raise UserError(f"cannot list {display(folder)} ({error.strerror}); make it readable") from error
    folders = sorted(name for name, is_folder in found if is_folder and not name.startswith("."))
    return Listing(name for name, is_folder in found if not is_folder), folders


def _nothing(folder: Path, skipped: list[Skipped], inside: list[str]) -> None:
    """Raise UserError: no image of a folder can be used."""
    if skipped:
        first = f"{display(skipped[0].path.name)} {skipped[0].reason}"
        number = "its only image" if len(skipped) == 1 else f"any of its {len(skipped)} images"
        raise UserError(f"cannot use {number} in {display(folder)} ({first}); put {KINDS} images there")
    raise UserError(f"no images in {display(folder)}; put {KINDS} images there, not in subfolders")


class _Files:
    """A folder's files on their way to pictures; counts what is used of captions, masks and tables."""

    def __init__(
        self,
        folder: Path,
        listing: Listing,
        inside: list[str],
        captions: tuple[str, ...],
        masks: list[Path],
        alpha_masks: bool,
    ) -> None:
        self.folder, self.listing, self.captions, self.alpha_masks = folder, listing, captions, alpha_masks
        whole = folder.absolute()
        self._above = metadata.read_captions(whole.parent)
        self._own = metadata.read_captions(folder, listing.names)
        self._inside = f"{whole.name}/"
        own_masks = [folder / name for name in inside if name.lower() == mask.FOLDER]
        self._masks = [(path, list_folder(path, "masks")[0]) for path in masks or own_masks]
        self._named = [(path, MaskNames([*held.images, *held.masks], True)) for path, held in self._masks]
        self._named.append((folder, MaskNames(listing.masks, False)))
        self._used: set[Path] = set()  # masks
        self._marks = CaptionMarks()
        self._two: list[str] = []  # images whose caption stands in a file and otherwise in a table

    def examine(self, name: str) -> Picture:
        """Raises Unusable."""
        path = self.folder / name
        if ending_of(name) in FOREIGN:
            raise Unusable(f"is of a kind that Limner does not read ({display(path.suffix)}); export it as JPEG or PNG")
        owner = mask.picture_of(stem_of(name))
        if owner is not None:
            raise Unusable(
                f"is named as the mask of an image {display(owner)!r} that is not there; rename it if it is an image"
            )
        data = read(path)
        size = check(data)
        sha256 = hashlib.sha256(data).hexdigest()
        found = self._mask(name)
        mask_found = None if found is None else mask.load_mask(found, size)
        if mask_found is None and self.alpha_masks:
            mask_found = mask.alpha_mask(path, data, sha256)
        return Picture(path, sha256, *size, self._caption(name), mask_found)

    def _mask(self, name: str) -> Path | None:
        for folder, names in self._named:
            found = names.of(name, self.listing.stems)
            if found is not None:
                self._used.add(folder / found)
                return folder / found
        return None

    def _caption(self, name: str) -> str | None:
        """The text of the file beside an image, or of a table, on one line. Raises Unusable for such a file."""
        tables = ((self._own, name), (self._above, self._inside + name))
        of_table = next((text for table, row in tables if table and (text := table.text(row))), None)
        beside = self.listing.caption(name, self.captions)
        lines = [] if beside is None else _lines_beside(self.folder / beside)
        if lines and of_table and " ".join(lines) != " ".join(of_table.split()):
            self._two.append(name)
        lines = lines or [" ".join(line.split()) for line in (of_table or "").splitlines() if line.strip()]
        text = " ".join(lines)
        self._marks.see(name, text, len(lines))
        return text or None

    def remarks(self) -> list[str]:
        files = Inventory(())
        self.listing.account(files, self.captions)
        for name in self.listing.masks:
            if self.folder / name not in self._used:
                files.leave(ANOTHER_MASK, name)
        said = files.remarks(self.folder, "file", "files")
        for table, inside in ((self._own, ""), (self._above, self._inside)):
            if table is not None:
                said += table.remarks((inside + name for name in self.listing.images), inside)
        if self._two:
            count = f"{len(self._two)} image{' has' if len(self._two) == 1 else 's have'}"
            said.append(
                f"{count} one caption in a file and another in {metadata.METADATA} "
                f"({named(self._two)}): that of the file counts"
            )
        for folder, held in self._masks:
            if folder.parent == self.folder:  # of a folder for several parts nobody knows here
                said += unused_masks(folder, held, self.listing.images)
        return said + self._marks.remarks()


def unused_masks(folder: Path, held: Listing, images: Iterable[str]) -> list[str]:
    """Sentences on the files of a folder of masks that are masks of none of the images."""
    owners = {name_key(stem_of(name)) for name in images}
    inventory = Inventory(())
    for name in held.files:
        stem = stem_of(name)
        if name_key(mask.picture_of(stem) or stem) in owners and ending_of(name) in SUFFIXES:
            inventory.use(name)
        else:
            inventory.leave(NO_IMAGE, name)
    return inventory.remarks(folder, "mask", "masks")


def _lines_beside(path: Path) -> list[str]:
    """The lines of a caption file. Raises Unusable, in the name of its image."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_CAPTION_BYTES + 1)
    except OSError as error:
        raise Unusable(f"has a caption file {display(path.name)} that cannot be read ({error.strerror})") from error
    return caption_lines(data, path.name)


def caption_lines(data: bytes, name: str) -> list[str]:
    """The lines of a caption file that are not blank. Raises Unusable, in the name of its image."""
    if len(data) > MAX_CAPTION_BYTES:
        raise Unusable(f"has a caption file {display(name)} of more than {MAX_CAPTION_BYTES >> 10} KiB")
    try:
        lines = unicodedata.normalize("NFC", decode_text(data)).splitlines()
    except UnknownEncoding as error:
        raise Unusable(f"has a caption file {display(name)} that {error}") from error
    return [" ".join(line.split()) for line in lines if line.strip()]


def text_of(data: bytes, name: str) -> str | None:
    """A caption file's text, on one line; None if it is blank. Raises Unusable, in the name of its image."""
    return " ".join(caption_lines(data, name)) or None
