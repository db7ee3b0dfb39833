"""A picture's generation text, in fields: what it says of its making, and which model, LoRAs and embeddings it used."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner.errors import UserError
from limner.files import sha256_file
from limner.formats import picture
from limner.infotext import Infotext, open_picture, read_picture
from limner.prompt import TAG, LoraTag, lora_tag


@dataclass(frozen=True)
class Used:
    """A file that a picture was made with: its name, the webui's hash of it ("" if the text says none), and of a LoRA
    how strongly it acted on the text encoder and on the UNet."""

    name: str
    hash: str = ""
    text_strength: float | None = None
    unet_strength: float | None = None


@dataclass(frozen=True)
class Picture:
    """A picture's facts. settings: all that the text says, by the webui's names; model: None if it does not say.

    says: whether there is a generation text at all. holds: of a picture that an embedding is hidden in, {text encoder:
    vectors}.
    """

    path: str
    size_bytes: int
    kind: str
    format: str
    width: int
    height: int
    says: bool
    prompt: str
    negative_prompt: str
    settings: dict[str, str]
    model: Used | None
    loras: tuple[Used, ...]
    embeddings: tuple[Used, ...]
    holds: dict[str, int]
    sha256: str

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine_picture(path: Path) -> Picture:
    """Facts about a PNG, JPEG, WebP, AVIF or GIF file. Raises UserError if it is damaged or too large."""
    with open_picture(path) as image:
        format, (width, height) = str(image.format), image.size
        has_chunk = picture.CHUNK in image.info
    said = read_picture(path)
    text = said or Infotext("")
    civitai = _hashes(text.settings.get("Hashes", ""))
    return Picture(
        path=str(path),
        size_bytes=path.stat().st_size,
        kind="picture",
        format=format,
        width=width,
        height=height,
        says=said is not None,
        prompt=text.prompt,
        negative_prompt=text.negative_prompt,
        settings=text.settings,
        model=_model(text.settings, civitai),
        loras=_loras(text, civitai),
        embeddings=tuple(
            Used(name, digits)
            for name, digits in (_listed(text.settings.get("TI hashes", "")) | _of(civitai, "embed")).items()
        ),
        holds=_embedding(path) if format == "PNG" and (said is None or has_chunk) else {},
        sha256=sha256_file(path),
    )


def _embedding(path: Path) -> dict[str, int]:
    try:
        return {network: len(vectors) for network, vectors in picture.load(path).tensors.items()}
    except UserError:  # as nearly every picture has none
        return {}


def _model(settings: Mapping[str, str], civitai: Mapping[str, str]) -> Used | None:
    name, digits = settings.get("Model", ""), settings.get("Model hash") or civitai.get("model", "")
    return Used(name, digits) if name or digits else None


def _loras(text: Infotext, civitai: Mapping[str, str]) -> tuple[Used, ...]:
    """The prompt's tags with their hashes, and behind them those of which there is only a hash."""
    hashes = _listed(text.settings.get("Lora hashes", "")) | _of(civitai, "lora")
    used = []
    for tag in _tags(text.prompt):
        digits = hashes.pop(re.sub("[,:]", "", tag.name), "")
        used.append(Used(tag.name, digits, tag.text_strength, tag.unet_strength))
    return (*used, *(Used(name, digits) for name, digits in hashes.items()))


def _tags(prompt: str) -> list[LoraTag]:
    """The tags that can be read, for a stranger's prompt may hold others."""
    found = []
    for kind, arguments in TAG.findall(prompt):
        try:
            found.append(lora_tag(kind, arguments))
        except UserError:
            continue
    return found


def _listed(text: str) -> dict[str, str]:
    """The webui's list, `name: digits, name: digits`."""
    pairs = (item.rpartition(":") for item in text.split(","))
    return {name.strip(): digits.strip() for name, _, digits in pairs if name.strip()}


def _of(hashes: Mapping[str, str], sort: str) -> dict[str, str]:
    return {name.removeprefix(f"{sort}:"): digits for name, digits in hashes.items() if name.startswith(f"{sort}:")}


def _hashes(text: str) -> dict[str, str]:
    """Civitai's table, {"model": digits, "lora:name": digits}; empty for what cannot be read."""
    try:
        held = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(digits) for name, digits in held.items()} if isinstance(held, dict) else {}
