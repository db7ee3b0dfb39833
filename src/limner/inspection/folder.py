"""A model's folder in diffusers' layout: what its configurations say it is, and what its weights' files hold."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from limner.base.families import FAMILIES
from limner.base.identify import Identity
from limner.base.layout import fingerprint, identify_folder
from limner.base.quantized import refusal
from limner.base.weight_files import inventory
from limner.container import Header
from limner.container.header import read_header
from limner.container.places import DTYPE_NAMES
from limner.errors import UserError
from limner.formats.blocks import counted
from limner.formats.verdicts import Verdict, of_folder

_ENDINGS = (".safetensors", ".bin", ".ckpt")


@dataclass(frozen=True)
class Folder:
    """A folder's facts. parts: {component: tensors in its files}. sha256: of its weights, configurations and vocabulary
    together, which pictures made with it name; None if it is not whole. The rest as of a Summary."""

    path: str
    size_bytes: int
    kind: str
    family: str
    reasons: tuple[str, ...]
    prediction_type: str
    refusal: str
    warnings: tuple[str, ...]
    parts: dict[str, int]
    dtypes: dict[str, int]
    sha256: str | None
    programs: dict[str, Verdict]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def examine_folder(path: Path) -> Folder:
    """Raises UserError if its configurations, or the headers of its weights, cannot be read."""
    identity = identify_folder(path)
    files = weights_of(path)
    headers = {name: read_header(file) for name, file in files.items()}
    return Folder(
        path=str(path),
        size_bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
        kind="diffusers folder",
        family=identity.family,
        reasons=identity.reasons,
        prediction_type=identity.prediction_type,
        refusal=identity.refusal,
        warnings=(*identity.warnings, *_quantized(headers), *_left_out(path, identity)),
        parts={name: len(header.shapes) for name, header in headers.items()},
        dtypes=counted(DTYPE_NAMES[dtype] for header in headers.values() for dtype in header.dtypes.values()),
        sha256=_fingerprint(path),
        programs=of_folder(),
    )


def _quantized(headers: Mapping[str, Header]) -> list[str]:
    """Which weights are in a format that is not opened."""
    reasons = {name: refusal(each.shapes, each.metadata, each.dtypes) for name, each in headers.items()}
    return [f"{name}: {reason}" for name, reason in reasons.items() if reason]


def _left_out(path: Path, identity: Identity) -> list[str]:
    """What is not used of a folder that Limner opens, or why it cannot be opened."""
    if identity.refusal:
        return []
    try:
        return inventory(path, FAMILIES[identity.family].networks).remarks(
            path.name, "file of weights", "files of weights"
        )
    except UserError as error:
        return [str(error)]


def weights_of(path: Path) -> dict[str, Path]:
    """{what to call it: a file of weights}, one for each component, and each shard where there are several."""
    found = {}
    for folder in sorted(each for each in path.iterdir() if each.is_dir()):
        files = sorted(each for each in folder.iterdir() if each.suffix in _ENDINGS)
        for file in files:
            found[folder.name if len(files) == 1 else f"{folder.name}/{file.name}"] = file
    return found


def _fingerprint(path: Path) -> str | None:
    try:
        return fingerprint(path)
    except UserError:  # of a family that Limner does not open, or in which something is missing
        return None
