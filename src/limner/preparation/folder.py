"""The prepared folder as a whole: whose it is, what in it is ours, and how it is brought up to date without loss."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from limner.errors import UserError
from limner.files import atomic_path, free_names
from limner.preparation.choices import NAME
from limner.preparation.layouts import BEFORE, CLASS, IMAGES, MASKS, STATE
from limner.preparation.ledger import Ledger, Record
from limner.temporary import clear
from limner.texts import read_text

LEDGER = "prepared.sqlite"
SET_ASIDE = "set-aside"
EDITED = "edited in place"  # where a caption or mask comes from that a person changed in the folder


def claim(out: Path, images: Path) -> None:
    """Raise UserError unless a folder may be prepared into: it is new, empty but for choices, or was prepared before.

    It must not lie in the folder of the pictures, which is not changed, nor hold it.
    """
    if out.exists() and not out.is_dir():
        raise UserError(f"{out} is a file; give the folder that the data set shall be written to")
    here, there = out.resolve(), images.resolve()
    if here == there or here.is_relative_to(there):
        raise UserError(f"{out} lies in {images}, which is never changed; give a folder outside of it")
    if there.is_relative_to(here):
        raise UserError(f"{images} lies in {out}, which is to be written; give a folder of its own")
    if out.is_dir() and not (out / STATE / LEDGER).exists():
        foreign = next((path.name for path in sorted(out.iterdir()) if path.name not in (STATE, NAME)), None)
        if foreign is not None:
            raise UserError(f"{out} holds what prepare did not write ({foreign}); give a new or empty folder")


def clear_unfinished(out: Path) -> None:
    """Remove what a killed process was writing: it never got its name."""
    for folder in (IMAGES, MASKS, CLASS, BEFORE, ""):
        clear(out / folder, always=True)


def foreign(out: Path, ledger: Ledger) -> Iterator[str]:
    """Pictures and texts in the folders of the data set that prepare did not write; they are left alone."""
    for folder in (IMAGES, MASKS, CLASS):
        for path in _listed(out / folder):
            if not path.name.startswith(".") and not ledger.owns(f"{folder}/{path.name}"):
                yield f"{folder}/{path.name}"


def _listed(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                yield Path(entry.path)


class Texts:
    """Text files of the folder, written unless a person changed them since."""

    def __init__(self, out: Path, ledger: Ledger) -> None:
        self.out, self.ledger = out, ledger

    def edited(self, path: str) -> str | None:
        """What a person made of a file that was written in an earlier run; None if it is as it was, or not there.

        Raises UserError for a file that is no text.
        """
        make_way(self.out, self.ledger, path)
        record = self.ledger.want(path)
        if not record.changed_by_hand(self.out):
            return None
        return read_text(self.out / path)

    def put(self, path: str, text: str) -> bool:
        """Write a text under a name, unless it says that already, or a person changed it; returns if it says it."""
        make_way(self.out, self.ledger, path)
        record = self.ledger.want(path)
        target, data = self.out / path, text.encode()
        there = target.read_bytes() if target.is_file() else None
        if there != data:
            if record.changed_by_hand(self.out):
                return False
            with atomic_path(target, "--out") as temporary:
                temporary.write_bytes(data)
        if there != data or not record.sha256:
            self.ledger.wrote(Record.of(self.out, path, ""))
        return True

    def put_lines(self, path: str, lines: Iterable[str]) -> None:
        """Write a report, line by line, in place of what is there."""
        make_way(self.out, self.ledger, path)
        self.ledger.want(path)
        with atomic_path(self.out / path, "--out") as temporary, temporary.open("wb") as stream:
            stream.writelines(line.encode("utf-8", "backslashreplace") for line in lines)
        self.ledger.wrote(Record.of(self.out, path, ""))


def remove_unwanted(out: Path, ledger: Ledger) -> list[str]:
    """Remove what earlier runs wrote and this one did not want; what a person changed of it is set aside instead.

    Returns where that is, from the folder.
    """
    aside = []
    while records := ledger.unwanted():
        for record in records:
            if record.changed_by_hand(out):
                aside.append(_set_aside(out, record.path))
            else:
                (out / record.path).unlink(missing_ok=True)
            ledger.forget(record.path)
        ledger.commit()
    for folder in (MASKS, CLASS, IMAGES):
        if (out / folder).is_dir() and not any((out / folder).iterdir()):
            (out / folder).rmdir()
    return aside


def make_way(out: Path, ledger: Ledger, path: str) -> None:
    """Set aside what lies where a file is to be written for the first time: no run of ours wrote it."""
    if not ledger.owns(path) and ((out / path).exists() or (out / path).is_symlink()):
        ledger.set_aside[path] = _set_aside(out, path)


def _set_aside(out: Path, path: str) -> str:
    """Move a file of the folder to where nothing is written over it; returns its place, from the folder."""
    wished = out / STATE / SET_ASIDE / Path(path).name
    place = next(each for each in free_names(wished) if not each.exists())
    place.parent.mkdir(parents=True, exist_ok=True)
    (out / path).replace(place)
    return str(place.relative_to(out))
