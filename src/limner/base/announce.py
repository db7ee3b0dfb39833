"""What is about to be opened, in a few words and without torch, so that it can be said before anything takes time."""

import json
from pathlib import Path

from limner.base import layout, pocket
from limner.base.families import FAMILIES
from limner.base.identify import TITLES, identify_base
from limner.base.weight_files import find_weights
from limner.errors import UserError
from limner.texts import display

MOST_HEADER_BYTES = 2**24


def about_base(name: str | Path) -> str:
    """A base's name with what it is and how large, as far as that can be told at once: "xl.safetensors (Stable
    Diffusion XL, 6.9 GB)". Never raises: what is wrong with it is said when it is opened."""
    path = pocket.FOLDER if str(name) == pocket.NAME else Path(name).expanduser()
    shown = str(name) if str(name) == pocket.NAME else path.name or str(name)
    try:
        facts = [_title(path), size_in_words(size_of(path))] if path.exists() else []
        facts += ["built in, a demo model for simple drawings"] if str(name) == pocket.NAME else []
    except (OSError, UserError):
        facts = []
    return display(shown) + (f" ({', '.join(filter(None, facts))})" if any(facts) else "")


def size_of(path: Path) -> int:
    """Bytes of a file, or of the weights in a folder in diffusers' layout."""
    if path.is_file():
        return path.stat().st_size
    return sum(size_of_part(part) for part in path.iterdir() if part.is_dir())


def size_of_part(folder: Path) -> int:
    """Bytes of the weights of one network that are read, 0 if there are none: a folder may hold several copies."""
    try:
        return sum(path.stat().st_size for path in find_weights(folder))
    except UserError:
        return 0


def size_in_words(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def _title(path: Path) -> str:
    """What it is, "" if that cannot be told from what stands in front of its weights."""
    if path.is_dir():
        family = FAMILIES.get(layout.identify_folder(path).family) if (path / layout.INDEX).is_file() else None
        return family.title if family is not None else ""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 2 <= length <= MOST_HEADER_BYTES:
            return ""
        try:
            entries = json.loads(stream.read(length))
            metadata = entries.pop("__metadata__", {})
            shapes = {key: tuple(entry["shape"]) for key, entry in entries.items()}
            return TITLES.get(identify_base(shapes, metadata, path.stem).family, "")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, IndexError):
            return ""
