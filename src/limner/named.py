"""The files that a prompt can name, LoRAs by tag and embeddings by word: names, found by looking at folders."""

from collections.abc import Iterable
from pathlib import Path

from limner.config import nearest
from limner.container.hashes import hash_file
from limner.container.header import SUFFIX, read_header
from limner.errors import UserError

HASH_LENGTH = 12  # digits that the webui prints
LORA_SUFFIXES = (SUFFIX, ".pt", ".ckpt", ".bin")
EMBEDDING_SUFFIXES = (SUFFIX, ".pt", ".bin")


class PromptFiles:
    """Files by name, as in the webui: the file's stem, or of a LoRA the `ss_output_name` in its metadata, if unique.

    A prompt's name is only ever compared with these; it is never part of a path.
    """

    def __init__(self, *loras: Path, embeddings: Iterable[Path] = ()) -> None:
        """Files, and folders that are searched with all below. Raises UserError if one is not there."""
        self._loras = _by_stem(loras, "LoRA", LORA_SUFFIXES)
        self._embeddings = _by_stem(embeddings, "embedding", EMBEDDING_SUFFIXES)
        self._aliases: dict[str, list[Path]] | None = None

    def loras(self) -> list[str]:
        return sorted(self._loras)

    def embeddings(self) -> list[str]:
        return sorted(self._embeddings)

    def find_lora(self, name: str) -> Path:
        """The file of this name. Raises UserError that names the nearest if there is none, or both if there are two."""
        found = self._loras.get(name) or self._by_alias().get(name, [])
        if len(found) > 1:
            raise UserError(f"<lora:{name}> could be {found[0]} or {found[1]}; rename one of them")
        if not found:
            known = [*self._loras, *self._by_alias()]
            near = nearest(name, known)
            meant = f"did you mean <lora:{near}>?" if near else f"there is {', '.join(self.loras()[:8]) or 'none'}"
            raise UserError(f"no LoRA named {name!r} for the prompt's <lora:{name}>; {meant}")
        return found[0]

    def find_embedding(self, name: str) -> Path:
        """The file of one of the names there are. Raises UserError if two files have it."""
        found = self._embeddings[name]
        if len(found) > 1:
            raise UserError(f"the prompt's {name} could be {found[0]} or {found[1]}; rename one of them")
        return found[0]

    def _by_alias(self) -> dict[str, list[Path]]:
        """Files by output name, read only when a stem is not found; a damaged file has none."""
        if self._aliases is None:
            self._aliases = {}
            for path in (path for paths in self._loras.values() for path in paths):
                try:
                    alias = read_header(path).metadata.get("ss_output_name", "")
                except UserError:
                    continue
                if alias and alias.lower() != "none":
                    self._aliases.setdefault(alias, []).append(path)
        return self._aliases


def short_hash(path: Path) -> str:
    """The hash under which the webui knows a LoRA: what the file says of itself, else of its tensors' bytes, and of a
    pickle that of the whole file."""
    header = read_header(path)
    said = header.metadata.get("sshs_model_hash")
    if not said:
        hashes = hash_file(path, header.data_start)
        said = hashes.tensors or hashes.sha256
    return said[:HASH_LENGTH]


def _by_stem(places: Iterable[Path], kind: str, suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = {}
    for path in (path for place in places for path in _files(place, kind, suffixes)):
        if path not in found.setdefault(path.stem, []):
            found[path.stem].append(path)
    return found


def _files(place: Path, kind: str, suffixes: tuple[str, ...]) -> list[Path]:
    """Files at a place, without hidden ones and without links that lead out of it."""
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise UserError(f"no {kind} file or folder {place}; check the path")
    root = place.resolve()
    paths = (path for path in sorted(place.rglob("*")) if path.suffix in suffixes and not path.name.startswith("."))
    return [path for path in paths if path.is_file() and path.resolve().is_relative_to(root)]
