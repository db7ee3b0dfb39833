"""The states of a run that may become its file, on disk: the best so far, and what a resumed run may still need."""

import io
from collections.abc import Sequence
from pathlib import Path

import torch

from limner.errors import UserError
from limner.files import atomic_path, is_whole_archive
from limner.temporary import clear
from limner.weights import Weights


class Kept:
    """A file for each kept state in a folder, named by its step."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, step: int, weights: Sequence[Weights]) -> None:
        """Raises UserError if it cannot be written."""
        buffer = io.BytesIO()
        torch.save([vars(each) for each in weights], buffer)
        path = self._path(step)
        try:
            with atomic_path(path) as temporary:
                temporary.write_bytes(buffer.getbuffer())
        except OSError as error:
            raise UserError(f"cannot write {path}: {error.strerror}; make room and resume the run") from error

    def load(self, step: int) -> list[Weights]:
        """Raises UserError if it is not there or damaged."""
        path = self._path(step)
        try:
            if not is_whole_archive(path):
                raise ValueError("a part of it has another checksum")
            return [Weights(**held) for held in torch.load(path, map_location="cpu", weights_only=True)]
        except Exception as error:
            raise UserError(
                f'the best state {path} is gone or damaged; write keep = "last" into the run\'s run.toml to take the '
                "last one, or start a new run"
            ) from error

    def steps(self) -> list[int]:
        return sorted(int(path.stem) for path in self.folder.glob("[0-9]*.pt") if path.stem.isdecimal())

    def prune(self, wanted: set[int]) -> None:
        """Remove all others, and what a process left that died while it wrote."""
        clear(self.folder, always=True)
        for step in set(self.steps()) - wanted:
            self._path(step).unlink()

    def _path(self, step: int) -> Path:
        return self.folder / f"{step:07d}.pt"
