"""What a job made, put on the shelf: under a name of its own, with a picture, and known to the index at once."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.config import KIND_FOLDERS
from limner.errors import UserError
from limner.files import atomic_path, sha256_file
from limner.library import worker
from limner.library.scan import add, shelf_root
from limner.library.store import Store
from limner.studio.work.task import Task


@dataclass(frozen=True)
class Placed:
    """A file on the shelf. instead_of: the name that it would have had, if another file has it; else ""."""

    path: Path
    name: str
    kind: str
    size_bytes: int
    instead_of: str = ""

    def to_dict(self) -> dict[str, Any]:
        """name: that on the shelf."""
        return {"path": str(self.path), "name": self.name, "kind": self.kind, "size_bytes": self.size_bytes}


def place(made: Path, kind: str, task: Task, picture: Path | None = None, replace: bool = False) -> Placed:
    """Put a file that a job made into its kind's folder on the shelf; a number is added where another has its name.

    The job's own stays as a second name of the same bytes where the file system allows it, else it moves. The same
    again, as by a worker that died in between, comes to the same. picture: what the shelf shows. replace: take
    the place of a file of that name. Raises UserError.
    """
    root = shelf_root(task.places.models)
    folder = root / KIND_FOLDERS[kind]
    folder.mkdir(parents=True, exist_ok=True)
    if replace:
        _remove(folder / made.name, made)
    path = next(each for each in _names(folder / made.name) if _put(made, each))
    if picture is not None:
        _show(picture, path.with_suffix(".preview.png"))
    name = path.relative_to(root).as_posix()
    with Store() as store:
        add(store, root, name, worker)  # a file of our own, which needs no process apart to be read in
    wished = made.name if path.name != made.name else ""
    return Placed(path, name, kind, path.stat().st_size, wished)


def _remove(target: Path, made: Path) -> None:
    if target.exists() and not target.samefile(made):
        target.unlink()
        target.with_suffix(".preview.png").unlink(missing_ok=True)


def _names(wished: Path) -> Iterator[Path]:
    yield wished
    number = 2
    while True:
        yield wished.with_stem(f"{wished.stem}-{number}")
        number += 1


def _put(made: Path, target: Path) -> bool:
    """Whether the file is at `target` now: it is put there, or was before."""
    if target.exists():
        return target.stat().st_size == made.stat().st_size and sha256_file(target) == sha256_file(made)
    try:
        os.link(made, target)
    except FileExistsError:
        return False  # it came this moment
    except OSError:  # another file system, or one without links
        try:
            with atomic_path(target) as temporary:
                shutil.copyfile(made, temporary)
        except OSError as error:
            raise UserError(f"cannot write {target.name} ({error.strerror}); make room, and let it go on") from error
        made.unlink()
    return True


def _show(picture: Path, target: Path) -> None:
    """A picture more or less is no reason to fail."""
    if picture.is_file() and not target.exists():
        try:
            shutil.copyfile(picture, target)
        except OSError:
            target.unlink(missing_ok=True)


def linked(folder: Path, own: Path) -> Path:
    """A job's own of all that a folder holds, so that a set of pictures may change while trainings on it wait.

    A second name of the same bytes where the file system allows it; whoever changes a prepared picture replaces it.
    """
    shutil.rmtree(own, ignore_errors=True)  # of a worker that died in between
    shutil.copytree(folder, own, copy_function=_link, ignore=shutil.ignore_patterns(".*"))
    return own


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
