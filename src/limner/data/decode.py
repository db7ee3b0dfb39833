"""Image files decoded with bounds: only the decoders that are meant, not too many pixels, upright."""

import functools
import hashlib
import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, JpegImagePlugin, PngImagePlugin

from limner.data.colour import to_srgb
from limner.errors import UserError

# Only these decoders ever see the bytes; Pillow would otherwise offer them to all of its own, Ghostscript included.
# HEIF is pillow-heif's.
DECODERS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "GIF", "HEIF")

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3  # as Pillow's warning: a quarter of a GiB of RGB, 9,459 squared
# Of a baseline JPEG, which libjpeg brings down by a whole factor row by row: phones take photographs of 108 and 200
# megapixels. What is beyond MAX_PIXELS comes at half its sides, as its size everywhere.
MAX_PIXELS_SCALED = 1 << 28
MAX_BYTES = 1 << 29  # of a file; MAX_PIXELS of 16-bit RGB
MIN_SIDE = 16  # pixels; tracking dots and spacers are no pictures
LEFT_EMPTY = 1024  # zeros at the end of a JPEG whose copying was broken off: the file was made in full size first

_pillow_limit = threading.Lock()  # Pillow's own limit is one for the whole process
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_ON_ITS_SIDE = [_TURNS[number] for number in (5, 6, 7, 8)]


class Unusable(Exception):
    """Why a file cannot be used, completing the sentence "<path> ..."."""


def read(path: Path) -> bytes:
    """An image file's bytes. Raises Unusable."""
    try:
        if not path.is_file():  # a pipe would block, a broken link has nothing to read
            raise Unusable("is not a regular file")
        if path.stat().st_size > MAX_BYTES:
            raise Unusable(f"is larger than {MAX_BYTES >> 20} MiB; export it as JPEG")
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"cannot be read ({error.strerror})") from error


def read_again(path: Path, sha256: str) -> bytes:
    """The bytes of a file that was checked before.

    Raises UserError if it is no longer the same: what is computed from them is filed under `sha256`.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path} any more ({error.strerror}); put it back and start again") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise UserError(f"{path} changed while it was in use; start again")
    return data


def check(data: bytes) -> tuple[int, int]:
    """Width and height, upright, of an encoded image that decodes to its last row. Raises Unusable."""
    with problems():
        image = open_image(data)
        stored = stored_size(image)
        small = load(image, at_least=MIN_SIDE)
        size = upright(stored, image)
        to_srgb(small.resize((8, 8), Image.Resampling.NEAREST))  # the colours' conversion works; its result is unused
    return size


@contextmanager
def problems() -> Iterator[None]:
    """Whatever decoding an image raises, as Unusable."""
    try:
        yield
    except Unusable:
        raise
    except Image.UnidentifiedImageError as error:
        raise Unusable("is not an image that can be read") from error
    except Exception as error:  # decoders meet hostile bytes with struct, zlib, type and many other errors
        broken = any(sign in str(error).lower() for sign in ("truncated", "end-of-file", "end of file"))
        raise Unusable("is truncated; copy it again" if broken else f"is damaged ({_brief(error)})") from error


def picture_at(path: Path, name: str = "") -> Image.Image:
    """A picture's pixels, upright. name: what to call it instead of by its path. Raises UserError."""
    try:
        with problems():
            return decode(read(path))
    except Unusable as problem:
        raise UserError(f"{name or path} {problem}") from problem


def decode(data: bytes, at_least: int | None = None) -> Image.Image:
    """The first frame of an encoded image, upright, in the file's own mode; its size is checked before any pixel.

    at_least: see load().
    """
    return load(open_image(data), at_least)


def open_image(data: bytes) -> Image.Image:
    """An encoded image whose header alone was read. Raises Unusable, and what problems() is for."""
    if not data:
        raise Unusable("is empty")
    _register()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with _pillow_limit:
                Image.MAX_IMAGE_PIXELS, usual = MAX_PIXELS_SCALED, Image.MAX_IMAGE_PIXELS
                try:
                    image = Image.open(io.BytesIO(data), formats=DECODERS)
                finally:
                    Image.MAX_IMAGE_PIXELS = usual
        except Image.DecompressionBombError as error:
            raise Unusable("has far too many pixels; scale it down") from error
    is_scalable = isinstance(image, JpegImagePlugin.JpegImageFile) and not image.info.get("progressive")
    if image.width * image.height > (MAX_PIXELS_SCALED if is_scalable else MAX_PIXELS):
        raise Unusable(
            f"has too many pixels ({image.width}x{image.height}); scale it down, or export it as a baseline JPEG"
        )
    if min(image.size) < MIN_SIDE:
        raise Unusable(f"is only {image.width}x{image.height} pixels")
    if isinstance(image, JpegImagePlugin.JpegImageFile) and _left_empty(data):
        raise Unusable("is truncated; copy it again")
    return image


def stored_size(image: Image.Image) -> tuple[int, int]:
    """Width and height, as stored, that an image from open_image() has for everybody; to be asked before load()."""
    factor = _factor(image)
    return -(-image.width // factor), -(-image.height // factor)


def _factor(image: Image.Image) -> int:
    """By how much the sides of a JPEG are brought down in decoding, so that it has at most MAX_PIXELS."""
    return next(factor for factor in (1, 2, 4, 8) if image.width * image.height <= MAX_PIXELS * factor**2)


def upright(size: tuple[int, int], image: Image.Image) -> tuple[int, int]:
    """Width and height when it is upright, of an image that is loaded by now and had that size before."""
    return size[::-1] if _turn(image) in _ON_ITS_SIDE else size


def load(image: Image.Image, at_least: int | None = None) -> Image.Image:
    """The pixels of an image from open_image(), upright.

    at_least: pixels; if given, a JPEG may come smaller by 2, 4 or 8, by libjpeg's scaling in its transform, as long as
    neither side falls below. All of the file is read all the same, so that what is truncated is found.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if isinstance(image, JpegImagePlugin.JpegImageFile):
            most = [side // _factor(image) for side in image.size]
            wanted = most if at_least is None else [min(at_least, side) for side in most]
            image.draft(image.mode, (wanted[0], wanted[1]))
        image.load()
        turn = _turn(image)  # not before: asked for EXIF, a PNG loads itself, and hides why that failed
    return image if turn is None else image.transpose(turn)


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes an image upright. Pillow itself turns TIFF, and libheif HEIF, whose EXIF does not count for it."""
    return None if image.format in ("TIFF", "HEIF") else _TURNS.get(orientation(image))


@functools.cache
def _register() -> None:
    import pillow_heif  # here, for it takes a while to import and most commands decode nothing

    pillow_heif.register_heif_opener(decode_threads=1)


def _left_empty(jpeg: bytes) -> bool:
    """Whether the end of a JPEG was never written."""
    written = jpeg.rstrip(b"\0")
    return len(jpeg) - len(written) > LEFT_EMPTY and not written.endswith(b"\xff\xd9")


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where the EXIF block is damaged: the pixels may be fine all the same."""
    if isinstance(image, PngImagePlugin.PngImageFile):
        image.load()  # as its getexif() does, where what the pixels raise would be taken for damage of the EXIF block
    try:
        if "original_orientation" in image.info:  # pillow-heif moves it
            return int(image.info["original_orientation"] or 1)
        return int(image.getexif().get(0x0112, 1))
    except Exception:
        return 1


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:100]
