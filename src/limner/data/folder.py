"""A folder of pictures, each checked by decoding it once: what cannot be used is skipped, with the reason."""

import hashlib
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from limner.data.colour import to_srgb
from limner.errors import UserError

SUFFIXES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".avif", ".bmp", ".dib", ".tif", ".tiff", ".gif"}
# Files that a person takes for pictures: leaving them out without a word would look like a bug.
FOREIGN = {".heic", ".heif", ".jxl", ".jp2", ".psd", ".svg", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf"}
# Only these decoders ever see the bytes; Pillow would otherwise offer them to all of its own, Ghostscript included.
DECODERS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "GIF")

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3  # as Pillow's warning: a quarter of a GiB of RGB, 9,459 squared
MAX_BYTES = 1 << 29  # of a file; MAX_PIXELS of 16-bit RGB
MAX_CAPTION_BYTES = 1 << 16
MIN_SIDE = 16  # pixels; tracking dots and spacers are no pictures

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


@dataclass(frozen=True)
class Picture:
    """An image file that can be decoded. sha256: of its bytes. Width and height in pixels, upright."""

    path: Path
    sha256: str
    width: int
    height: int
    caption: str | None = None

    def open(self) -> Image.Image:
        """The picture as upright sRGB of mode "RGB".

        Raises UserError if the file is no longer the one that was checked: what is computed from these pixels is
        filed under `sha256`.
        """
        try:
            data = self.path.read_bytes()
        except OSError as error:
            raise UserError(
                f"cannot read {self.path} any more ({error.strerror}); put it back and start again"
            ) from error
        if hashlib.sha256(data).hexdigest() != self.sha256:
            raise UserError(f"{self.path} changed while it was in use; start again")
        return to_srgb(_decode(data))


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


class _Unusable(Exception):
    """Why a file cannot be used, completing the sentence "<path> ..."."""


def load_folder(folder: Path) -> ImageFolder:
    """Check every picture of a folder (not of its subfolders), in order of their names.

    Hidden files and files of other kinds are passed over. Raises UserError if the folder is missing or not one
    picture of it can be used.
    """
    pictures: list[Picture] = []
    skipped: list[Skipped] = []
    for path in _candidates(folder):
        try:
            pictures.append(_examine(path))
        except _Unusable as problem:
            skipped.append(Skipped(path, str(problem)))
    if not pictures:
        kinds = "PNG, JPEG, WebP, AVIF, BMP, TIFF or GIF"
        if skipped:
            first = f"{skipped[0].path.name} {skipped[0].reason}"
            number = "its only picture" if len(skipped) == 1 else f"any of its {len(skipped)} pictures"
            raise UserError(f"cannot use {number} in {folder} ({first}); put {kinds} images there")
        raise UserError(f"no pictures in {folder}; put {kinds} images there, not in subfolders")
    return ImageFolder(folder, pictures, skipped)


def _candidates(folder: Path) -> list[Path]:
    if not folder.exists():
        raise UserError(f"no folder {folder}; give the folder that holds your pictures")
    if not folder.is_dir():
        raise UserError(f"{folder} is a file; give the folder that holds your pictures")
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name)
    except OSError as error:
        raise UserError(f"cannot list {folder} ({error.strerror}); make it readable") from error
    return [
        path
        for path in paths
        if path.suffix.lower() in SUFFIXES | FOREIGN and not path.name.startswith(".") and not path.is_dir()
    ]


def _examine(path: Path) -> Picture:
    if path.suffix.lower() in FOREIGN:
        raise _Unusable(f"is of a kind that Limner does not read ({path.suffix}); export it as JPEG or PNG")
    try:
        if not path.is_file():  # a pipe would block, a broken link has nothing to read
            raise _Unusable("is not a regular file")
        if path.stat().st_size > MAX_BYTES:
            raise _Unusable(f"is larger than {MAX_BYTES >> 20} MiB; export it as JPEG")
        data = path.read_bytes()
    except OSError as error:
        raise _Unusable(f"cannot be read ({error.strerror})") from error
    width, height = _check(data)
    return Picture(path, hashlib.sha256(data).hexdigest(), width, height, _sidecar(path))


def _check(data: bytes) -> tuple[int, int]:
    """Width and height, upright, of an encoded image that decodes to its last row. Raises _Unusable."""
    if not data:
        raise _Unusable("is empty")
    try:
        image = _decode(data)
        to_srgb(image.resize((8, 8), Image.Resampling.NEAREST))  # the colours' conversion works; its result is unused
    except _Unusable:
        raise
    except Image.UnidentifiedImageError as error:
        raise _Unusable("is not an image that can be read") from error
    except Exception as error:  # decoders meet hostile bytes with struct, zlib, type and many other errors
        broken = "truncated" in str(error).lower()
        raise _Unusable("is truncated; copy it again" if broken else f"is damaged ({_brief(error)})") from error
    if min(image.size) < MIN_SIDE:
        raise _Unusable(f"is only {image.width}x{image.height} pixels")
    return image.size


def _decode(data: bytes) -> Image.Image:
    """The first frame of an encoded image, upright, in the file's own mode; its size is checked before any pixel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=DECODERS)
        except Image.DecompressionBombError as error:
            raise _Unusable("has far too many pixels; scale it down") from error
        if image.width * image.height > MAX_PIXELS:
            raise _Unusable(f"has too many pixels ({image.width}x{image.height}); scale it down")
        image.load()
        turn = _TURNS.get(_orientation(image))  # after load(), in which TIFF turns itself
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where the EXIF block is damaged: the pixels may be fine all the same."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:
        return 1


def _sidecar(path: Path) -> str | None:
    """The text of the .txt beside a picture, on one line; None if there is none or it is blank. Raises _Unusable."""
    text_path = path.with_suffix(".txt")
    if not text_path.is_file():
        return None
    try:
        with text_path.open("rb") as stream:
            data = stream.read(MAX_CAPTION_BYTES + 1)
        if len(data) > MAX_CAPTION_BYTES:
            raise _Unusable(f"has a caption file {text_path.name} of more than {MAX_CAPTION_BYTES >> 10} KiB")
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except OSError as error:
        raise _Unusable(f"has a caption file {text_path.name} that cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise _Unusable(f"has a caption file {text_path.name} that is not UTF-8 text; save it as UTF-8") from error
    return " ".join(text.replace("\0", " ").split()) or None


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:100]
