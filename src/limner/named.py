"""The files that a prompt can name, LoRAs by tag and embeddings by word: names, found by looking at folders."""

import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from limner.config import nearest_few
from limner.container.hashes import hash_file
from limner.container.header import SUFFIX, read_header
from limner.errors import UserError
from limner.inventory import named
from limner.texts import display

HASH_LENGTH = 12  # digits that the webui prints
LORA_SUFFIXES = (SUFFIX, ".pt", ".ckpt", ".bin")
EMBEDDING_SUFFIXES = (SUFFIX, ".pt", ".bin")


@dataclass(frozen=True)
class PromptFile:
    """A file that a prompt can name. below: its path below the folder that was searched, with slashes."""

    path: Path
    below: str

    @property
    def names(self) -> tuple[str, ...]:
        """What a tag may call it: stem or file name, by themselves and with the folders above."""
        folder = self.below[: len(self.below) - len(self.path.name)]
        return self.path.stem, self.path.name, folder + self.path.stem, self.below


class PromptFiles:
    """Files by name, as in the webui: the file's stem, or of a LoRA the `ss_output_name` in its metadata, if unique.

    What is written exactly so goes first; else upper and lower case, composed and decomposed letters (NFC, NFD) and
    slashes of either kind are the same. A tag may add the suffix or the subfolder. A prompt's name is only ever
    compared with these; it is never part of a path.
    """

    def __init__(self, *loras: Path, embeddings: Iterable[Path] = ()) -> None:
        """Files, and folders that are searched with all below. Raises UserError if one is not there."""
        embeddings = tuple(embeddings)
        self._folders = [place for place in loras if place.is_dir()]
        self._given_loras = [place for place in loras if place.is_file()]
        self._given_embeddings = [place for place in embeddings if place.is_file()]
        self._loras = _files(loras, "LoRA", LORA_SUFFIXES)
        self._embeddings = _files(embeddings, "embedding", EMBEDDING_SUFFIXES)
        self._aliases: dict[Path, str] | None = None

    def loras(self) -> list[str]:
        return sorted({file.path.stem for file in self._loras})

    def embeddings(self) -> list[str]:
        return sorted({file.path.stem for file in self._embeddings})

    def find_lora(self, name: str) -> Path:
        """The file of this name. Raises UserError that names the nearest if there is none, or all if there are more."""
        wanted = name.strip()

        def called(same: Callable[[str], str]) -> list[Path]:
            key = same(wanted)
            by_stem = [file.path for file in self._loras if same(file.path.stem) == key]
            return by_stem or [file.path for file in self._loras if key in map(same, file.names)]

        def known_as(same: Callable[[str], str]) -> list[Path]:
            return [path for path, alias in self._by_alias().items() if same(alias) == same(wanted)]

        found = called(str) or known_as(str) or called(fold) or known_as(fold)
        if len(found) > 1:
            raise UserError(
                f"<lora:{display(name)}> could be {named([str(path) for path in found])}; write the folder or the "
                "suffix too, or rename one of them"
            )
        if not found:
            raise UserError(
                f"no LoRA named {display(name)!r} for the prompt's <lora:{display(name)}>; {self._near(name)}"
            )
        return found[0]

    def find_embedding(self, name: str) -> Path:
        """The file of one of the names there are. Raises UserError if two files have it."""
        found = [file.path for file in self._embeddings if fold(file.path.stem) == fold(name)]
        if len(found) > 1:
            raise UserError(
                f"the prompt's {display(name)} could be {named([str(path) for path in found])}; rename one of them"
            )
        return found[0]

    def not_named(self, loras: Iterable[str], texts: Iterable[str]) -> list[str]:
        """A sentence on each file that was given by itself and that no tag (loras: their names) and no text names."""
        used = {self.find_lora(name).resolve() for name in loras}
        text = fold(" ".join(texts))
        unused = [path for path in self._given_loras if path.resolve() not in used]
        unsaid = [path for path in self._given_embeddings if fold(path.stem) not in text]
        return [
            *(f"{display(path)} is not used: no prompt names it; write <lora:{path.stem}:1> there" for path in unused),
            *(f"{display(path)} is not used: no prompt says {path.stem!r}, the name of the file" for path in unsaid),
        ]

    def _near(self, name: str) -> str:
        """What could be meant, or what there is."""
        names = [name for file in self._loras for name in (file.path.stem, *file.names[2:3])]
        stem = name.strip()
        for suffix in LORA_SUFFIXES:
            stem = stem[: -len(suffix)] if fold(stem).endswith(suffix) else stem
        near = nearest_few(stem, [*names, *self._by_alias().values()])
        if near:
            return f"did you mean {' or '.join(f'<lora:{each}>' for each in dict.fromkeys(near))}?"
        where = f" in {named([str(folder) for folder in self._folders])}" if self._folders else ""
        if not self._loras:
            return f"there are no LoRAs{where}"
        return f"none of the {len(self._loras)} LoRAs{where} has a name like it; limner models lists them"

    def _by_alias(self) -> dict[Path, str]:
        """Output names by file, read only when a stem is not found; a damaged file has none."""
        if self._aliases is None:
            self._aliases = {}
            for path in (file.path for file in self._loras):
                try:
                    alias = read_header(path).metadata.get("ss_output_name", "").strip()
                except UserError:
                    continue
                if alias and alias.lower() != "none":
                    self._aliases[path] = alias
        return self._aliases


def fold(name: str) -> str:
    """A name as it is compared: its letters composed and in lower case, its slashes forward."""
    composed = unicodedata.normalize("NFC", name).casefold()
    return unicodedata.normalize("NFC", composed).replace("\\", "/")


def short_hash(path: Path) -> str:
    """The hash under which the webui knows a LoRA: what the file says of itself, else of its tensors' bytes, and of a
    pickle that of the whole file."""
    header = read_header(path)
    said = header.metadata.get("sshs_model_hash")
    if not said:
        hashes = hash_file(path, header.data_start)
        said = hashes.tensors or hashes.sha256
    return said[:HASH_LENGTH]


def _files(places: Iterable[Path], kind: str, suffixes: tuple[str, ...]) -> list[PromptFile]:
    """Files at places, each once, without hidden ones and without links that lead out of the place."""
    found: dict[tuple[Path, str], PromptFile] = {}  # a file once, by whatever path it is given, but links by theirs
    for place in places:
        if place.is_file():
            found.setdefault((place.resolve(), place.name), PromptFile(place, place.name))
            continue
        if not place.is_dir():
            raise UserError(f"no {kind} file or folder {display(place)}; check the path")
        root = place.resolve()
        for path in sorted(place.rglob("*")):
            is_one = path.suffix.lower() in suffixes and not path.name.startswith(".")
            if is_one and path.is_file() and path.resolve().is_relative_to(root):
                below = path.relative_to(place).as_posix()
                found.setdefault((path.resolve(), path.name), PromptFile(path, below))
    return list(found.values())
