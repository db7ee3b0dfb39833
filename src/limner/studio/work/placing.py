"""What a job made, put on the shelf: under a name of its own, with a picture, and known to the index at once."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.config import KIND_FOLDERS
from limner.errors import UserError
from limner.files import atomic_path, free_names, new_file, sha256_file
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
    if replace and (folder / made.name).is_file():
        path = folder / made.name
        _replace(made, path)
    else:
        path = _put(made, folder / made.name)
    if picture is not None:
        _show(picture, path.with_suffix(".preview.png"))
    name = path.relative_to(root).as_posix()
    with Store() as store:
        add(store, root, name, worker)  # a file of our own, which needs no process apart to be read in
    wished = made.name if path.name != made.name else ""
    return Placed(path, name, kind, path.stat().st_size, wished)


def _replace(made: Path, target: Path) -> None:
    """Put the file at `target` in place of another one, which is there until then."""
    if target.samefile(made):
        return
    with atomic_path(target) as temporary:
        shutil.copyfile(made, temporary)
    target.with_suffix(".preview.png").unlink(missing_ok=True)


def _put(made: Path, wished: Path) -> Path:
    """Where the file is now: under the first name that was free, or at which it was before."""
    for target in free_names(wished):
        if target.exists():
            if _are_same(made, target):
                return target
            continue
        try:
            os.link(made, target)
        except FileExistsError:
            continue  # it came this moment
        except OSError:  # another file system, or one without links
            break
        return target
    try:
        with new_file(target, option=None) as new:
            shutil.copyfile(made, new.temporary)
    except OSError as error:
        raise UserError(f"cannot write {target.name} ({error.strerror}); make room, and let it go on") from error
    made.unlink()
    return new.path


def _are_same(one: Path, other: Path) -> bool:
    return other.is_file() and other.stat().st_size == one.stat().st_size and sha256_file(other) == sha256_file(one)


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
