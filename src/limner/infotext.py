"""The webui's `parameters` text: how a picture was made, written into the PNG and read back."""

import itertools
import json
import re
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

from limner.errors import UserError
from limner.files import free_names, new_file

# Civitai's table, which stands there as bare JSON: its commas and colons are no settings'
HASHES = re.compile(r",?\s*\bHashes:\s*(\{[^{}]{0,100000}\})")
KEY = "parameters"
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF")
_UNREADABLE = (
    OSError,
    ValueError,
    SyntaxError,
    MemoryError,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)
NEGATIVE = "Negative prompt:"
FEWEST = 3  # a last line of fewer settings is part of the prompt
# the name's length is bounded, or a long line without a colon would be searched anew from each of its characters
SETTING = re.compile(r'\s*(\w[\w \-/]{1,60}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')


@dataclass(frozen=True)
class Infotext:
    """A `parameters` text taken apart. settings: in the text's order, unquoted, by the webui's names."""

    prompt: str
    negative_prompt: str = ""
    settings: dict[str, str] = field(default_factory=dict)


def format_infotext(prompt: str, negative_prompt: str, settings: Mapping[str, object]) -> str:
    """The text of AUTOMATIC1111's form; settings that are None are left out."""
    pairs = ", ".join(f"{name}: {_quoted(str(value))}" for name, value in settings.items() if value is not None)
    negative = f"\n{NEGATIVE} {negative_prompt}" if negative_prompt else ""
    return f"{prompt}{negative}\n{pairs}".strip()


def parse_infotext(text: str) -> Infotext:
    """Any `parameters` text; what has no settings in its last line is all prompt."""
    lines = text.strip().split("\n")
    table = HASHES.search(lines[-1])
    last = HASHES.sub("", lines[-1], count=1) if table else lines[-1]
    settings = SETTING.findall(last)
    if table:
        settings.append(("Hashes", table[1]))
    if len(settings) < FEWEST:
        settings = []
    else:
        del lines[-1]
    prompt: list[str] = []
    negative: list[str] | None = None
    for line in (line.strip() for line in lines):
        if line.startswith(NEGATIVE):
            negative = [*(negative or []), line.removeprefix(NEGATIVE).strip()]
        else:
            (prompt if negative is None else negative).append(line)
    return Infotext(_text_of(prompt), _text_of(negative or []), {name: _unquoted(value) for name, value in settings})


def _text_of(lines: list[str]) -> str:
    """Lines as one text, as the webui joins them: empty ones in front of it do not count."""
    return "\n".join(itertools.dropwhile(lambda line: not line, lines))


def save_png(
    image: Image.Image,
    infotext: str,
    path: Path,
    postprocessing: str = "",
    overwrite: bool = True,
    names: Callable[[Path], Iterator[Path]] = free_names,
    option: str | None = None,
) -> Path:
    """Write a PNG with its `parameters`, whole or not at all; returns where. postprocessing: what was done to it after
    it was made. Without `overwrite` it gets the next of `names` if something has the path by then. option:
    the one that names another place."""
    chunks = PngInfo()
    for key, text in {KEY: infotext, "postprocessing": postprocessing}.items():
        if text:
            chunks.add_text(key, text)  # becomes an iTXt chunk by itself where Latin-1 does not do
    with new_file(path, overwrite, option, names=names) as new:
        image.save(new.temporary, format="PNG", pnginfo=chunks)
    return new.path


def next_numbers(path: Path) -> Iterator[Path]:
    """A picture's path, NUMBER-SEED.png, and those with the next numbers, for another process may number too."""
    number, _, rest = path.name.partition("-")
    return (path.with_name(f"{each:05d}-{rest}") for each in itertools.count(int(number)))


def marked(mark: bytes) -> PngInfo:
    """What says in a PNG, in front of its pixels, which command wrote it."""
    chunks = PngInfo()
    chunks.add_text("Software", mark.decode())
    return chunks


def read_picture(path: Path) -> Infotext | None:
    """What a picture says about its making, or None. Raises UserError if it cannot be read."""
    text = picture_text(path)
    return parse_infotext(text) if text is not None else None


def picture_text(path: Path, stream: IO[bytes] | None = None) -> str | None:
    """A picture's text as it stands there, or None. stream: its bytes, if they are no file; the path only names it
    then. Raises UserError if it cannot be read.

    The webuis write it into a PNG's `parameters`, into the Exif UserComment of JPEG and WebP, and into a GIF's comment.
    Pixels are decoded only of a PNG whose text is not in front of them.
    """
    with open_picture(path, stream) as image:
        try:
            text = _text(image)
            if text is None and image.format == "PNG":
                image.load()  # a text chunk may stand behind the pixels
                text = _text(image)
        except _UNREADABLE as error:
            raise UserError(f"cannot read the picture {path} ({error}); copy or download it again") from error
    return text


@contextmanager
def open_picture(path: Path, stream: IO[bytes] | None = None) -> Iterator[Image.Image]:
    """A picture whose pixels are not yet decoded, of the formats in which there are texts. Raises UserError."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(path if stream is None else stream, formats=FORMATS)
        except (*_UNREADABLE, UnidentifiedImageError) as error:
            reason = "it is none" if stream is not None and isinstance(error, UnidentifiedImageError) else error
            raise UserError(f"cannot read the picture {path} ({reason}); give a PNG, JPEG or WebP file") from error
        with image:
            yield image


def _text(image: Image.Image) -> str | None:
    said = image.info.get(KEY)
    if said is None and image.format in ("PNG", "JPEG", "WEBP", "AVIF"):
        said = _comment(image.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment))
    if said is None and image.format == "GIF":
        said = image.info.get("comment")
    if isinstance(said, bytes):
        said = said.decode("utf-8", errors="replace")
    return said if isinstance(said, str) and said else None


def _comment(data: object) -> str | None:
    """The text of an Exif UserComment: eight bytes say its encoding, but not in which order UTF-16 is."""
    if not isinstance(data, bytes):
        return data if isinstance(data, str) else None
    mark, text = data[:8], data[8:]
    if mark == b"UNICODE\0":
        ways = [text.decode(f"utf-16-{order}", errors="replace") for order in ("be", "le")]
        return max(ways, key=lambda way: sum(character < "\u0100" for character in way)).strip("\0")
    return (text if mark in (b"ASCII\0\0\0", bytes(8)) else data).decode("utf-8", errors="replace").strip("\0")


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,:\n]", value) else value


def _unquoted(value: str) -> str:
    if not (len(value) > 1 and value[0] == value[-1] == '"'):
        return value.strip()
    try:
        return str(json.loads(value))
    except ValueError:
        return value
