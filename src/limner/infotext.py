"""The webui's `parameters` text: how a picture was made, written into the PNG and read back."""

import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from limner.errors import UserError
from limner.files import atomic_path

KEY = "parameters"
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
    settings = SETTING.findall(lines[-1])
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
    return Infotext("\n".join(prompt), "\n".join(negative or []), {name: _unquoted(value) for name, value in settings})


def save_png(image: Image.Image, infotext: str, path: Path) -> None:
    """Write a PNG with its `parameters`, whole or not at all."""
    chunks = PngInfo()
    chunks.add_text(KEY, infotext)  # becomes an iTXt chunk by itself where Latin-1 does not do
    with atomic_path(path) as temporary:
        image.save(temporary, format="PNG", pnginfo=chunks)


def read_png(path: Path) -> Infotext | None:
    """What a PNG says about its making, or None. Raises UserError if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=("PNG",)) as image:  # some of the others would start programs
                image.load()
                text = image.info.get(KEY)
    except (
        OSError, ValueError, SyntaxError, MemoryError, Image.DecompressionBombError, Image.DecompressionBombWarning,
    ) as error:  # fmt: skip
        raise UserError(f"cannot read the picture {path} ({error}); give a PNG file") from error
    return parse_infotext(text) if isinstance(text, str) else None


def _quoted(value: str) -> str:
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,:\n]", value) else value


def _unquoted(value: str) -> str:
    if not (len(value) > 1 and value[0] == value[-1] == '"'):
        return value.strip()
    try:
        return str(json.loads(value))
    except ValueError:
        return value
