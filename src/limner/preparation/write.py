"""One picture of the data set written, in whichever process: read again, cropped, resampled, encoded, with its mask."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from limner.config import ImageFormat
from limner.data.colour import is_srgb, to_srgb
from limner.data.decode import Unusable, decode, read
from limner.data.mask import open_mask
from limner.data.source import Source
from limner.files import atomic_path
from limner.preparation.framing import Framing
from limner.preparation.ledger import Record
from limner.preparation.masks import Found, Masks
from limner.preparation.resample import resample, resample_mask

BEFORE_SIDE = 320  # pixels of the originals on the page
MOST_BEFORE = 1000  # pictures that the page shows
PNG_LEVEL = 1  # of zlib: twice as fast as the usual 6 and a tenth larger; these files are read far more than sent


@dataclass(frozen=True)
class Task:
    """A picture to write. root: of the data set; all paths are from there, with slashes, None for what is not wanted.

    sha256: of the source's bytes, as they were when it was decided on. key: of all that the image is made from.
    mask_key: likewise of the mask. mask_by_hand: a file that takes the place of what masks finds. before: where a
    small copy of the original goes, for the page.
    """

    root: Path
    source: Source
    sha256: str
    key: str
    framing: Framing | None
    format: ImageFormat
    image: str | None = None
    mask: str | None = None
    mask_key: str = ""
    masks: Masks | None = None
    mask_by_hand: Path | None = None
    before: str | None = None

    @property
    def asks(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.image or self.mask or self.before)


@dataclass(frozen=True)
class Outcome:
    """What was written. problem: why nothing was, completing "<file> ...". mask: where it comes from, "" for none."""

    problem: str = ""
    records: tuple[Record, ...] = ()
    mask: str = ""


def write(task: Task) -> Outcome:
    """Write what a task asks for; each file appears under its name whole or not at all."""
    try:
        data = task.source.read()
        if hashlib.sha256(data).hexdigest() != task.sha256:
            raise Unusable("changed while it was in use; give the same command again")
        decoded = decode(data)
        image = decoded if is_srgb(decoded) else to_srgb(decoded)
        found = _mask(task, decoded, image) if task.mask else None
    except Unusable as problem:
        return Outcome(str(problem))
    records = []
    if task.before:
        small = image.reduce(max(1, max(image.size) // BEFORE_SIDE))
        small.thumbnail((BEFORE_SIDE, BEFORE_SIDE), Image.Resampling.BOX, reducing_gap=None)
        records.append(_put(task.root, task.before, encode(small, "jpeg", quality=80), task.sha256))
    if task.image and task.framing:
        records.append(_put(task.root, task.image, encode(resample(image, task.framing), task.format), task.key))
    if found and task.mask and task.framing:
        view = resample_mask(found.image, task.framing)
        records.append(_put(task.root, task.mask, encode(view, "png"), task.mask_key))
    return Outcome("", tuple(records), found.origin if found else "")


def write_white(root: Path, path: str, size: tuple[int, int], key: str) -> Record:
    """A mask of all of a picture, for programs that want one of each if there are any."""
    data = encode(Image.new("L", size, 255), "png")
    return _put(root, path, data, key)


def encode(image: Image.Image, format: ImageFormat, quality: int = 97) -> bytes:
    """A picture's bytes, with nothing in them but its pixels. quality: of a JPEG, whose colours are not subsampled."""
    stream = io.BytesIO()
    image.info = {}
    match format:
        case "png":
            image.save(stream, "PNG", compress_level=PNG_LEVEL)
        case "webp":
            image.save(stream, "WEBP", lossless=True, quality=20, method=1)
        case "jpeg":
            image.save(stream, "JPEG", quality=quality, subsampling=0, optimize=False)
    return stream.getvalue()


def _mask(task: Task, decoded: Image.Image, image: Image.Image) -> Found | None:
    if task.mask_by_hand is not None:
        path = task.mask_by_hand
        return Found(open_mask(path.name, read(path), decoded.size), f"{path.name}, by hand")
    return task.masks.find(task.source, decoded, image) if task.masks else None


def _put(root: Path, path: str, data: bytes, key: str) -> Record:
    with atomic_path(root / path, "--out") as temporary:
        temporary.write_bytes(data)
    changed = (root / path).stat().st_mtime_ns
    return Record(path, key, len(data), changed, hashlib.sha256(data).hexdigest())
