"""Sets of pictures on disk: what a person dropped, what was found out about it, and what came of it.

A set's folder holds `originals` (the files as they came, under clean names), `zips` (which a worker is to unpack),
`check.json` with `thumbnails` and `views` (what the check found), `masks` (drawn by hand) and `prepared` (what
`limner prepare` makes of it, with the person's choices). No pixel is decoded here.
"""

import filecmp
import hashlib
import itertools
import json
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from limner.data.listing import CAPTIONS, FOREIGN, SUFFIXES
from limner.data.mask import ENDINGS
from limner.data.metadata import METADATA
from limner.data.source import HIDDEN, Source, find_sources
from limner.errors import UserError
from limner.files import atomic_path, write_text
from limner.library.filenames import clean_stem
from limner.library.shelf import Stamp
from limner.preparation.choices import NAME, NO_MASK, NOTHING, Choice, change_choices, read_choices
from limner.preparation.layouts import STATE

MOST_FILES = 10_000  # of a set
MOST_SET_BYTES = 64 << 30
MOST_FOLDERS = 8  # around a file; deeper ones are left out of its name
MOST_PART = 60  # characters of a folder's or file's name
PICTURES = SUFFIXES | FOREIGN
ZIP = ".zip"
INCOMING = "incoming-"
SECONDS_FORGOTTEN = 86_400.0


@dataclass
class Added:
    """What became of files. added: the names under which they are kept. same: how many were there already, byte for
    byte. skipped: (name as it came, why)."""

    added: list[str] = field(default_factory=list)
    same: int = 0
    zips: int = 0
    skipped: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True)
class PictureSet:
    folder: Path

    @property
    def originals(self) -> Path:
        return self.folder / "originals"

    @property
    def prepared(self) -> Path:
        return self.folder / "prepared"

    @property
    def zips(self) -> Path:
        return self.folder / "zips"

    @property
    def facts(self) -> Path:
        """What is measured of the pictures: in the prepared folder, so that preparing does not measure again."""
        return self.prepared / STATE / "facts"

    @property
    def choices_file(self) -> Path:
        return self.prepared / NAME

    def thumbnail(self, number: int) -> Path:
        return self.folder / "thumbnails" / f"{number}.webp"

    def view(self, number: int) -> Path:
        """A larger copy, to edit by."""
        return self.folder / "views" / f"{number}.webp"

    def mask(self, number: int) -> Path:
        """The mask that a person drew or gave."""
        return self.folder / "masks" / f"{number}.png"

    # What there is

    def sources(self) -> list[Source]:
        return list(find_sources(self.originals)) if self.originals.is_dir() else []

    def name(self, number: int) -> str:
        """The picture of that number. Raises UserError if there is none."""
        seen = (each["name"] for each in self.checked().get("pictures", []))
        for name in itertools.chain(seen, (source.name for source in self.sources())):  # the folder is slower to list
            if number_of(name) == number and (self.originals / name).is_file():
                return name
        raise UserError(f"there is no picture {number} in this set any more; load the page again")

    def files(self) -> Iterator[Path]:
        """All that the person gave, zips included."""
        for folder in (self.originals, self.zips):
            yield from (path for path in folder.rglob("*") if path.is_file())

    def checked(self) -> dict[str, Any]:
        """What the last check found; empty if there was none."""
        path = self.folder / "check.json"
        try:
            return _read_checked(path, Stamp.of(path))
        except (UserError, OSError, ValueError):
            return {}

    def keep_checked(self, found: dict[str, Any]) -> None:
        write_text(self.folder / "check.json", json.dumps(found, ensure_ascii=False))

    def wishes(self) -> dict[str, str]:
        """What the person said of the set on the page: keyword, class, base, method."""
        try:
            return json.loads((self.folder / "wishes.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}

    def keep_wishes(self, wishes: dict[str, str]) -> None:
        write_text(self.folder / "wishes.json", json.dumps(wishes, ensure_ascii=False))

    # What a person decides

    def choices(self) -> dict[str, Choice]:
        """Raises UserError if the file was edited into something that cannot be meant."""
        return read_choices(self.choices_file)

    def change(self, changes: dict[str, dict[str, Any]]) -> None:
        change_choices(self.choices_file, changes)

    def keep_mask(self, name: str, data: bytes | None) -> None:
        """Take a picture's mask from a file, or, with None, say that it has none. It is looked at by workers only."""
        number = number_of(name)
        if data is None:
            self.mask(number).unlink(missing_ok=True)
            self.change({name: {"mask": NO_MASK}})
            return
        with atomic_path(self.mask(number)) as temporary:
            temporary.write_bytes(data)
        self.change({name: {"mask": f"../masks/{number}.png"}})

    # What comes and goes

    @contextmanager
    def incoming(self) -> Iterator[Path]:
        """A folder for files on their way, which is gone at the end of the block."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(f"{INCOMING}*"):  # by a server that was killed
            if time.time() - left.stat().st_mtime > SECONDS_FORGOTTEN:
                shutil.rmtree(left, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=self.folder, prefix=INCOMING) as folder:
            yield Path(folder)

    def add(self, files: Iterable[tuple[str, Path]]) -> Added:
        """Take files in. files: (name as it came, with folders, and where the file is now).

        What belongs to a picture, its caption and mask, goes by the picture's name: if that becomes another because
        its own is taken, theirs does too.
        """
        done = Added()
        renamed: dict[tuple[str, str], str] = {}
        wanted = []
        for told, path in files:
            name, why = clean_name(told)
            if name is None:
                done.skipped += [(told, why)] if why else []
            elif name.endswith(ZIP):
                self._put(path, self.zips, PurePosixPath(name).name)
                done.zips += 1
            else:
                wanted.append((_belongs(name) is not None, name, path))
        for _, name, path in sorted(wanted, key=lambda each: each[:2]):  # pictures go before what belongs to them
            self._take(name, path, renamed, done)
        return done

    def _take(self, name: str, path: Path, renamed: dict[tuple[str, str], str], done: Added) -> None:
        place = PurePosixPath(name)
        owner = _belongs(name)
        target = self.originals / name
        if target.is_file() and filecmp.cmp(path, target, shallow=False):
            done.same += 1
            return
        if owner is None:
            kept = self._put(path, self.originals, name)
            renamed[(str(place.parent), place.stem)] = kept.stem
            done.added.append(str(kept.relative_to(self.originals).as_posix()))
            return
        stem = renamed.get((str(place.parent), owner), owner)
        target = self.originals / place.with_name(stem + place.name[len(owner) :])
        target.parent.mkdir(parents=True, exist_ok=True)
        path.replace(target)
        done.added.append(str(target.relative_to(self.originals).as_posix()))

    def _put(self, path: Path, folder: Path, name: str) -> Path:
        """Move a file to a name, or the next like it that nothing has; two processes never take the same."""
        wanted = target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        number = 1
        while True:
            try:
                target.touch(exist_ok=False)
                break
            except FileExistsError:
                number += 1
                target = wanted.with_name(f"{wanted.stem}-{number}{wanted.suffix}")
        path.replace(target)
        return target

    def remove(self, names: Iterable[str]) -> None:
        """Remove pictures with what belongs to them and what was decided of them."""
        gone = set(names)
        for folder in {(self.originals / name).parent for name in gone}:
            files = [path for path in folder.iterdir() if path.is_file()]
            named = {path: path.relative_to(self.originals).as_posix() for path in files}
            left = {path.stem for path in files if _belongs(path.name) is None and named[path] not in gone}
            without = {path.stem for path in files if named[path] in gone} - left
            for path in files:
                if named[path] in gone or _belongs(path.name) in without:
                    path.unlink(missing_ok=True)
        for name in gone:
            number = number_of(name)
            small = self.thumbnail(number)
            for made in (small, small.with_suffix(".sha256"), self.view(number), self.mask(number)):
                made.unlink(missing_ok=True)
        self.change({name: dict.fromkeys(NOTHING.__dataclass_fields__) for name in gone})

    def destroy(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


@lru_cache(maxsize=2)  # of ten thousand pictures it is some megabytes, which take a third of a second
def _read_checked(path: Path, stamp: Stamp) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def number_of(name: str) -> int:
    """The number by which a picture is asked for: of its name alone, so that it stays whatever comes and goes. 48 bits,
    which JavaScript holds exactly."""
    return int.from_bytes(hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6).digest(), "big")


def clean_name(told: str) -> tuple[str | None, str]:
    """A name fit for a set's folder, with slashes, and ""; or None, and why such a file is not taken, "" for what no
    person means, as the notes of a file system."""
    parts = [part for part in told.replace("\\", "/").split("/") if part not in ("", ".", "..")]
    if not parts or any(part.startswith(HIDDEN) for part in parts):
        return None, ""
    last = PurePosixPath(parts[-1])
    suffix = last.suffix.lower()
    if parts[-1].lower() == METADATA:
        file = METADATA
    elif suffix in PICTURES or suffix in (*CAPTIONS, ZIP):
        file = clean_stem(last.stem, "picture")[:MOST_PART].rstrip(" .") + suffix
    else:
        return None, "is neither a picture nor what belongs to one"
    folders = [clean_stem(part, "folder")[:MOST_PART].rstrip(" .") for part in parts[:-1]][-MOST_FOLDERS:]
    return "/".join([*folders, file]), ""


def _belongs(name: str) -> str | None:
    """The stem of the picture that a caption or mask belongs to by its name; None for a picture."""
    path = PurePosixPath(name)
    if path.suffix.lower() in CAPTIONS or path.name == METADATA:
        return path.stem
    endings = [ending for ending in ENDINGS if path.stem.endswith(ending) and path.stem != ending]
    return path.stem.removesuffix(endings[0]) if endings else None
