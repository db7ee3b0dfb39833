"""Image files decoded with bounds: only the decoders that are meant, not too many pixels, upright."""

import hashlib
import io
import warnings
from pathlib import Path

from PIL import Image

from limner.data.colour import to_srgb
from limner.errors import UserError

# Only these decoders ever see the bytes; Pillow would otherwise offer them to all of its own, Ghostscript included.
DECODERS = ("PNG", "JPEG", "WEBP", "AVIF", "BMP", "DIB", "TIFF", "GIF")

MAX_PIXELS = 1024 * 1024 * 1024 // 4 // 3  # as Pillow's warning: a quarter of a GiB of RGB, 9,459 squared
MAX_BYTES = 1 << 29  # of a file; MAX_PIXELS of 16-bit RGB
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
    if not data:
        raise Unusable("is empty")
    try:
        image = decode(data)
        to_srgb(image.resize((8, 8), Image.Resampling.NEAREST))  # the colours' conversion works; its result is unused
    except Unusable:
        raise
    except Image.UnidentifiedImageError as error:
        raise Unusable("is not an image that can be read") from error
    except Exception as error:  # decoders meet hostile bytes with struct, zlib, type and many other errors
        broken = "truncated" in str(error).lower()
        raise Unusable("is truncated; copy it again" if broken else f"is damaged ({_brief(error)})") from error
    if min(image.size) < MIN_SIDE:
        raise Unusable(f"is only {image.width}x{image.height} pixels")
    return image.size


def decode(data: bytes) -> Image.Image:
    """The first frame of an encoded image, upright, in the file's own mode; its size is checked before any pixel."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            image = Image.open(io.BytesIO(data), formats=DECODERS)
        except Image.DecompressionBombError as error:
            raise Unusable("has far too many pixels; scale it down") from error
        if image.width * image.height > MAX_PIXELS:
            raise Unusable(f"has too many pixels ({image.width}x{image.height}); scale it down")
        image.load()
        turn = _TURNS.get(_orientation(image))  # after load(), in which TIFF turns itself
    return image if turn is None else image.transpose(turn)


def _orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 where the EXIF block is damaged: the pixels may be fine all the same."""
    try:
        return int(image.getexif().get(0x0112, 1))
    except Exception:
        return 1


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:100]
