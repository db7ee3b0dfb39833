"""The model, LoRAs and embeddings that a picture was made with, as its text names them."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

from limner.errors import UserError
from limner.infotext import Infotext
from limner.prompt import TAG, LoraTag, lora_tag


@dataclass(frozen=True)
class Used:
    """A file that a picture was made with: its name, the webui's hash of it ("" if the text says none), and of a LoRA
    how strongly it acted on the text encoder and on the UNet."""

    name: str
    hash: str = ""
    text_strength: float | None = None
    unet_strength: float | None = None


def used_model(text: Infotext) -> Used | None:
    """The base; None if the text does not say."""
    settings, civitai = text.settings, _hashes(text)
    name, digits = settings.get("Model", ""), settings.get("Model hash") or civitai.get("model", "")
    return Used(name, digits) if name or digits else None


def used_loras(text: Infotext) -> tuple[Used, ...]:
    """The prompt's tags with their hashes, and behind them those of which there is only a hash."""
    hashes = _listed(text.settings.get("Lora hashes", "")) | _of(_hashes(text), "lora")
    used = []
    for tag in _tags(text.prompt):
        digits = hashes.pop(re.sub("[,:]", "", tag.name), "")
        used.append(Used(tag.name, digits, tag.text_strength, tag.unet_strength))
    return (*used, *(Used(name, digits) for name, digits in hashes.items()))


def used_embeddings(text: Infotext) -> tuple[Used, ...]:
    hashes = _listed(text.settings.get("TI hashes", "")) | _of(_hashes(text), "embed")
    return tuple(Used(name, digits) for name, digits in hashes.items())


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


def _hashes(text: Infotext) -> dict[str, str]:
    """Civitai's table, {"model": digits, "lora:name": digits}; empty for what cannot be read."""
    try:
        held = json.loads(text.settings.get("Hashes", ""))
    except (ValueError, RecursionError):
        return {}
    return {str(name): str(digits) for name, digits in held.items()} if isinstance(held, dict) else {}
