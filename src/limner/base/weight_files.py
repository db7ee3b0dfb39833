"""Which files of a folder in diffusers' layout hold a network's weights. Loads no torch."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from limner.errors import UserError
from limner.inventory import Inventory, named
from limner.texts import display

# What programs keep weights in.
ENDINGS = (".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".gguf", ".msgpack", ".h5", ".onnx", ".onnx_data", ".pb")
# Both libraries' names: a variant stands before or behind the number of a shard.
_FILE = re.compile(
    r"(?P<stem>diffusion_pytorch_model|pytorch_model|model)(?:\.(?P<before>[\w-]+?))?"
    r"(?:-(?P<shard>\d+)-of-(?P<count>\d+))?(?:\.(?P<behind>[\w-]+))?\.(?P<format>safetensors|bin)"
)
_NUMBERS = {"": 0, "fp32": 1, "fp16": 2, "bf16": 2}  # variants that are the same weights, those of most digits first
_OTHER = len(_NUMBERS)
_LEFT = {  # folders beside the networks', and why their weights are not used
    "safety_checker": "Limner has no filter for finished images",
    "image_encoder": "they are for prompts that are images",
    "text_encoder_3": "the T5 text encoder is left out, as the makers allow",
}


@dataclass(frozen=True)
class _Copy:
    """One copy of a network's weights: all of its files, in the order of their numbers."""

    format: str
    variant: str
    files: tuple[Path, ...]
    missing: str = ""  # what to say of one that is not whole

    @property
    def order(self) -> tuple[bool, int, bool, str]:
        """What is taken first: whole ones, in most digits, as safetensors."""
        rank = _NUMBERS.get(self.variant, _OTHER)
        return bool(self.missing), rank, self.format == "bin", self.variant


def find_weights(folder: Path) -> tuple[Path, ...]:
    """The files of a network's weights, several if they are in shards. Raises UserError if there are none that Limner
    reads, or some of them are missing."""
    copies = sorted(_copies(folder), key=lambda copy: copy.order)
    if not copies:
        raise UserError(_nothing(folder))
    if copies[0].missing:
        raise UserError(f"the weights in {display(folder)} are not whole: {copies[0].missing}; copy the folder again")
    return copies[0].files


def plain_name(part: str) -> str:
    """The name under which a network's weights are written as one file."""
    return "model.safetensors" if part.startswith("text") else "diffusion_pytorch_model.safetensors"


def inventory(root: Path, parts: Iterable[str]) -> Inventory:
    """All files of weights in a model's folder, and which of them are used. Raises UserError as find_weights does."""
    found = [path for place in (root, *_folders(root)) for path in sorted(place.iterdir()) if path.suffix in ENDINGS]
    files = Inventory(path.relative_to(root).as_posix() for path in found)
    for part in parts:
        if not (root / part).is_dir():
            raise UserError(f"{display(root)} lacks its folder {part}; copy the whole diffusers folder")
        chosen = {path.relative_to(root).as_posix() for path in find_weights(root / part)}
        others = [
            each for path in found if path.parent == root / part and (each := f"{part}/{path.name}") not in chosen
        ]
        files.use(*chosen)
        files.leave(f"{named(sorted(chosen))} holds the network's weights", *others)
    for name, reason in _LEFT.items():
        files.leave(reason, *(f"{name}/{path.name}" for path in found if path.parent == root / name))
    files.leave("the weights in the folder's parts are used", *(path.name for path in found if path.parent == root))
    return files


def _folders(root: Path) -> list[Path]:
    return sorted(path for path in root.iterdir() if path.is_dir())


def _copies(folder: Path) -> list[_Copy]:
    """Every copy of the weights that there is in a folder, whole or not."""
    grouped: dict[tuple[str, str, int], dict[int, Path]] = {}
    for path in sorted(folder.iterdir()):
        match = _FILE.fullmatch(path.name)
        if match is not None and path.is_file():
            variant = match["before"] or match["behind"] or ""
            key = match["format"], variant, int(match["count"] or 1)
            grouped.setdefault(key, {})[int(match["shard"] or 1)] = path
    return [
        _Copy(format, variant, tuple(shards.values()), _missing(folder, shards, count, format, variant))
        for (format, variant, count), shards in grouped.items()
    ]


def _missing(folder: Path, shards: dict[int, Path], count: int, format: str, variant: str) -> str:
    """What is missing of a copy: shards by their numbers, or by the index beside them."""
    if count == 1:
        return ""
    lost = [number for number in range(1, count + 1) if number not in shards]
    if lost:
        example = next(iter(shards.values())).name
        return (
            f"of {count} shards like {example}, {'number' if len(lost) == 1 else 'numbers'} {_list(lost)} is not there"
        )
    for index in sorted(folder.glob(f"*.{format}.index*.json")):
        if variant and variant not in index.name:
            continue
        names = {path.name for path in shards.values()}
        wanted = _names_in(index)
        if wanted & names and not wanted <= names:
            return f"{index.name} names {named(sorted(wanted - names))}, which is not there"
    return ""


def _names_in(index: Path) -> set[str]:
    """The files that a shards' index names. Raises UserError if it cannot be read."""
    try:
        return {str(name) for name in json.loads(index.read_text("utf-8"))["weight_map"].values()}
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{display(index)} is damaged; copy the whole folder again") from error


def _list(numbers: list[int]) -> str:
    return ", ".join(map(str, numbers[:3])) + (f" and {len(numbers) - 3} more" if len(numbers) > 3 else "")


def _nothing(folder: Path) -> str:
    wanted = "model" if folder.name.startswith("text") else "diffusion_pytorch_model"
    there = sorted(path.name for path in folder.iterdir() if path.suffix in ENDINGS)
    if not there:
        return (
            f"{display(folder)} holds no weights; download the folder again with its {wanted}.safetensors "
            f"(or {wanted}.fp16.safetensors)"
        )
    tensors = [name for name in there if name.endswith((".safetensors", ".bin"))]
    if len(tensors) == 1:
        suffix = Path(tensors[0]).suffix
        stem = "pytorch_model" if (wanted, suffix) == ("model", ".bin") else wanted
        return f"{display(folder)} holds weights under another name, {tensors[0]}; rename it to {stem}{suffix}"
    return (
        f"{display(folder)} holds {named(there)}, and no {wanted}.safetensors or .bin, which Limner reads; download "
        "the folder's .safetensors files"
    )
