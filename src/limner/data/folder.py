"""A folder of pictures, each checked by decoding it once: what cannot be used is skipped, with the reason."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from limner.data import mask, metadata
from limner.data.colour import to_srgb
from limner.data.decode import Unusable, check, decode, read, read_again
from limner.data.mask import Mask
from limner.errors import UserError

_USUAL = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".tif", ".tiff", ".gif"}
SUFFIXES = _USUAL | {".avif", ".heic", ".heif", ".hif"}
# Files that a person takes for pictures: leaving them out without a word would look like a bug.
FOREIGN = {".jxl", ".jp2", ".psd", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"}

CAPTIONS = (".txt", ".caption")  # endings of the files beside pictures, the first that is there counts
CAPTIONS_OF_KOHYA = (".caption", ".txt")
MAX_CAPTION_BYTES = 1 << 16


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
    """The usable pictures of a folder, by name, and the files that were left out."""

    folder: Path
    pictures: list[Picture]
    skipped: list[Skipped]


def load_folder(
    folder: Path, captions: tuple[str, ...] = CAPTIONS, masks: Path | None = None, alpha_masks: bool = False
) -> ImageFolder:
    """Check every picture of a folder (not of its subfolders), in order of their names.

    Hidden files and files of other kinds are passed over. captions: endings of their files; a picture that has none of
    these has its caption in a metadata.jsonl of the folder or the one above. masks: a folder of them, else they lie
    beside the pictures or in a subfolder "masks". alpha_masks: whether a picture without one has it in its alpha
    channel. Raises UserError if a folder is missing or not one picture of it can be used.
    """
    pictures: list[Picture] = []
    skipped: list[Skipped] = []
    listed = _list(folder, "pictures")
    named = mask.by_stem(listed, False)
    stems = {path.stem for path in listed if mask.picture_of(path.stem) is None}
    candidates = [path for path in listed if mask.picture_of(path.stem) not in stems]
    masks = masks or (folder / mask.FOLDER if (folder / mask.FOLDER).is_dir() else None)
    found = named | (mask.by_stem(_list(masks, "masks"), True) if masks else {})
    told = metadata.beside(folder)
    for path in candidates:
        try:
            pictures.append(_examine(path, captions, told, found, alpha_masks))
        except Unusable as problem:
            skipped.append(Skipped(path, str(problem)))
    if not pictures:
        kinds = "PNG, JPEG, WebP, AVIF, HEIC, BMP, TIFF or GIF"
        if skipped:
            first = f"{skipped[0].path.name} {skipped[0].reason}"
            number = "its only picture" if len(skipped) == 1 else f"any of its {len(skipped)} pictures"
            raise UserError(f"cannot use {number} in {folder} ({first}); put {kinds} images there")
        raise UserError(f"no pictures in {folder}; put {kinds} images there, not in subfolders")
    return ImageFolder(folder, pictures, skipped)


def _list(folder: Path, what: str) -> list[Path]:
    """The files of a folder that are or look like images, by name. Raises UserError."""
    if not folder.exists():
        raise UserError(f"no folder {folder}; give the folder that holds your {what}")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; give the folder that holds your {what}")
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise UserError(f"cannot list {folder} ({error.strerror}); make it readable") from error
    return [
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES | FOREIGN and not path.name.startswith(".") and not path.is_dir()
    ]


def _examine(
    path: Path, captions: tuple[str, ...], told: Mapping[str, str], masks: Mapping[str, Path], alpha_masks: bool
) -> Picture:
    if path.suffix.lower() in FOREIGN:
        raise Unusable(f"is of a kind that Limner does not read ({path.suffix}); export it as JPEG or PNG")
    stem = mask.picture_of(path.stem)
    if stem is not None:
        raise Unusable(f"is named as the mask of a picture {stem!r} that is not there; rename it if it is a picture")
    data = read(path)
    size = check(data)
    sha256 = hashlib.sha256(data).hexdigest()
    found = mask.load_mask(masks[path.stem], size) if path.stem in masks else None
    if found is None and alpha_masks:
        found = mask.alpha_mask(path, data, sha256)
    return Picture(path, sha256, *size, _sidecar(path, captions) or told.get(path.name), found)


def _sidecar(path: Path, captions: tuple[str, ...]) -> str | None:
    """The text of the file beside a picture, on one line; None if there is none or it is blank. Raises Unusable."""
    beside = [path.with_suffix(ending) for ending in captions]
    text_path = next((each for each in beside if each.is_file()), None)
    if text_path is None:
        return None
    try:
        with text_path.open("rb") as stream:
            data = stream.read(MAX_CAPTION_BYTES + 1)
    except OSError as error:
        raise Unusable(f"has a caption file {text_path.name} that cannot be read ({error.strerror})") from error
    return text_of(data, text_path.name)


def text_of(data: bytes, name: str) -> str | None:
    """A caption file's text, on one line; None if it is blank. Raises Unusable, in the name of the picture."""
    if len(data) > MAX_CAPTION_BYTES:
        raise Unusable(f"has a caption file {name} of more than {MAX_CAPTION_BYTES >> 10} KiB")
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise Unusable(f"has a caption file {name} that is not UTF-8 text; save it as UTF-8") from error
    return " ".join(text.replace("\0", " ").split()) or None
