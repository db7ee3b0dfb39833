"""A whole model as a folder in diffusers' layout: what its configurations say, which wants no torch."""

import hashlib
import json
from pathlib import Path
from typing import Any

from limner.base.families import FAMILIES
from limner.base.family import Family
from limner.base.identify import Identity, identify_configs
from limner.errors import UserError
from limner.files import sha256_file
from limner.texts import read_text

INDEX = "model_index.json"


def identify_folder(folder: Path) -> Identity:
    """What a folder is, by its configurations. Raises UserError if they cannot be read."""
    index = _json(folder / INDEX)
    unet, transformer = (
        read_config(folder, part) if (folder / part).is_dir() else {} for part in ("unet", "transformer")
    )
    scheduler = folder / "scheduler" / "scheduler_config.json"
    parts = [path.name for path in folder.iterdir() if path.is_dir()]
    return identify_configs(index, unet, _json(scheduler) if scheduler.is_file() else {}, transformer, parts)


def check_family(folder: Path) -> Family:
    """The family of a folder that holds a whole model. Raises UserError if it is of none that Limner knows."""
    found = identify_folder(folder)
    if found.refusal:
        raise UserError(f"the base {folder} is {found.title}: {found.refusal}")
    family = FAMILIES[found.family]
    missing = [part for part in parts_of(family) if not (folder / part).is_dir()]
    if missing:
        raise UserError(f"the base {folder} lacks {', '.join(missing)}; copy the whole diffusers folder")
    if family.denoiser != "unet":  # which fills up what texts are too narrow for it
        return family
    widths = [read_config(folder, encoder.name).get("hidden_size") for encoder in family.encoders]
    width = read_config(folder, "unet").get("cross_attention_dim")
    if width != sum(each or 0 for each in widths):
        raise UserError(
            f"the base {folder} is not {family.title}: its UNet reads texts {width} wide, and its text encoders' are "
            f"{widths} wide; use a folder whose parts belong together"
        )
    return family


def parts_of(family: Family) -> tuple[str, ...]:
    """The folders of a model in diffusers' layout."""
    return (*family.networks, *(encoder.tokenizer for encoder in family.encoders), "scheduler")


def files_of(folder: Path, family: Family) -> list[Path]:
    """A model folder's weights, configurations and vocabulary."""
    return sorted(path for part in parts_of(family) for path in (folder / part).rglob("*") if path.is_file())


def fingerprint(folder: Path) -> str:
    """SHA-256 over the names and contents of a model folder's weights, configurations and vocabulary."""
    digest = hashlib.sha256()
    for path in files_of(folder, check_family(folder)):
        digest.update(f"{path.relative_to(folder)} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


def read_config(folder: Path, part: str) -> dict[str, Any]:
    """A network's configuration. Raises UserError."""
    return _json(folder / part / "config.json")


def read_scheduler(folder: Path) -> dict[str, Any]:
    """The scheduler's configuration. Raises UserError."""
    return _json(folder / "scheduler" / "scheduler_config.json")


def _json(path: Path) -> dict[str, Any]:
    try:
        told = json.loads(read_text(path, is_data=True))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"the base {path.parent} has no readable {path.name}; copy the whole folder again") from error
    if not isinstance(told, dict):
        raise UserError(f"the base {path.parent} has no readable {path.name}; copy the whole folder again")
    return told
