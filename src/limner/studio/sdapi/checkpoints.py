"""Checkpoints by the names that the webui has for them."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from limner.base import pocket
from limner.config import KIND_FOLDERS, nearest
from limner.errors import UserError
from limner.library.shelf import ShelfFile
from limner.studio.state import State

HASH = re.compile(r"\s*\[[0-9a-f]{8,64}\]$")
SHORT = 10  # digits of a hash that a title has


@dataclass(frozen=True)
class Checkpoint:
    """name: on the shelf. file: below the folder of checkpoints, as the webui shows it. sha256: None until known."""

    name: str
    file: str
    sha256: str | None

    @property
    def title(self) -> str:
        return self.file if self.sha256 is None else f"{self.file} [{self.sha256[:SHORT]}]"

    @property
    def model_name(self) -> str:
        return self.file.replace("/", "_").rpartition(".")[0] or self.file

    def names(self) -> list[str]:
        """All by which it can be meant, the fullest first."""
        hashes = [] if self.sha256 is None else [self.sha256, self.sha256[:SHORT]]
        stem = PurePosixPath(self.file).stem
        return [self.title, self.file, self.name, self.model_name, PurePosixPath(self.file).name, stem, *hashes]


def checkpoints(studio: State) -> list[Checkpoint]:
    """Those on the shelf that can be used, by name, and the built-in base last."""
    found = [_checkpoint(file) for file in files(studio, "checkpoint")]
    return [*found, Checkpoint(pocket.NAME, pocket.NAME, None)]


def files(studio: State, kind: str) -> list[ShelfFile]:
    """The shelf's files of a kind that can be used."""
    studio.shelf.watched()
    with studio.shelf.store() as store:
        return [file for file in store.find(studio.shelf.root, kinds=[kind]) if not file.problem]


def find_checkpoint(studio: State, text: str) -> Checkpoint:
    """What a title, a name, a file or a hash means; else the shortest title with these letters in it. UserError."""
    known = checkpoints(studio)
    plain = HASH.sub("", text.strip())
    for wanted in (text.strip(), plain):
        for checkpoint in known:
            if wanted in checkpoint.names():
                return checkpoint
    alike = [each for each in known if plain and plain.casefold() in each.title.casefold()]
    if alike:
        return min(alike, key=lambda each: len(each.title))
    near = nearest(plain, [each.file for each in known])
    hint = f"did you mean {near!r}?" if near else "ask /sdapi/v1/sd-models for those there are"
    raise UserError(f"there is no checkpoint {text[:200]!r} on the shelf; {hint}")


def _checkpoint(file: ShelfFile) -> Checkpoint:
    below = file.name.removeprefix(f"{KIND_FOLDERS['checkpoint']}/")
    return Checkpoint(file.name, below, file.hashes.sha256 if file.hashes else None)
