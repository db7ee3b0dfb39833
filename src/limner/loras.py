"""The LoRA files that `<lora:name:...>` can mean: an index of names, made by looking at folders."""

from pathlib import Path

from limner.config import nearest
from limner.errors import UserError
from limner.formats.hashes import hash_file
from limner.formats.header import SUFFIX, read_header

HASH_LENGTH = 12  # digits that the webui prints


class LoraFolder:
    """Files by name, as in the webui: the file's stem, or the `ss_output_name` in its metadata where that is unique.

    A prompt's name is only ever compared with these; it is never part of a path.
    """

    def __init__(self, *places: Path) -> None:
        """`places`: LoRA files, and folders that are searched with all below. Raises UserError if one is not there."""
        self._stems: dict[str, list[Path]] = {}
        self._aliases: dict[str, list[Path]] | None = None
        for place in places:
            for path in _files(place):
                found = self._stems.setdefault(path.stem, [])
                if path not in found:
                    found.append(path)

    def names(self) -> list[str]:
        return sorted(self._stems)

    def find(self, name: str) -> Path:
        """The file of this name. Raises UserError that names the nearest if there is none, or both if there are two."""
        found = self._stems.get(name) or self._by_alias().get(name, [])
        if len(found) > 1:
            raise UserError(f"<lora:{name}> could be {found[0]} or {found[1]}; rename one of them")
        if not found:
            known = [*self._stems, *self._by_alias()]
            near = nearest(name, known)
            meant = f"did you mean <lora:{near}>?" if near else f"there is {', '.join(self.names()[:8]) or 'none'}"
            raise UserError(f"no LoRA named {name!r} for the prompt's <lora:{name}>; {meant}")
        return found[0]

    def _by_alias(self) -> dict[str, list[Path]]:
        """Files by output name, read only when a stem is not found; a damaged file has none."""
        if self._aliases is None:
            self._aliases = {}
            for path in (path for paths in self._stems.values() for path in paths):
                try:
                    alias = read_header(path).metadata.get("ss_output_name", "")
                except UserError:
                    continue
                if alias and alias.lower() != "none":
                    self._aliases.setdefault(alias, []).append(path)
        return self._aliases


def short_hash(path: Path) -> str:
    """The hash under which the webui knows a LoRA: what the file says of itself, else of its tensors' bytes."""
    header = read_header(path)
    said = header.metadata.get("sshs_model_hash")
    return (said or hash_file(path, header.data_start).tensors)[:HASH_LENGTH]


def _files(place: Path) -> list[Path]:
    """LoRA files at a place, without hidden ones and without links that lead out of it."""
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UserError(f"no LoRA file or folder {place}; check the path")
    root = place.resolve()
    paths = (path for path in sorted(place.rglob(f"*{SUFFIX}")) if not path.name.startswith("."))
    return [path for path in paths if path.is_file() and path.resolve().is_relative_to(root)]
