"""What a prepared folder's pictures were decided to be and which files were written for them: a database beside them.

It is what makes a second run go on instead of beginning again, what tells a file that prepare wrote from one that a
person put there or changed, and what keeps the memory constant however many pictures there are.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from limner.database import open_database
from limner.files import sha256_file

PAGE = 500  # rows that are in memory at a time
MIGRATIONS = (
    """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    CREATE TABLE pictures (
        number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, run INTEGER NOT NULL, place INTEGER NOT NULL,
        decision TEXT NOT NULL, mask TEXT NOT NULL DEFAULT '', caption TEXT NOT NULL DEFAULT '',
        origin TEXT NOT NULL DEFAULT '', caption_key TEXT NOT NULL DEFAULT ''
    );
    CREATE INDEX places ON pictures (run, place);
    CREATE TABLE files (
        path TEXT PRIMARY KEY, run INTEGER NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, changed INTEGER NOT NULL,
        sha256 TEXT NOT NULL
    );
    """,
)


@dataclass(frozen=True)
class Record:
    """A file as it was written. path: from the folder, with slashes. key: of all that it was made from.

    changed: the time of its last change in nanoseconds. sha256 is "" for one that was begun and may not be there.
    """

    path: str
    key: str
    size: int = 0
    changed: int = 0
    sha256: str = ""

    @classmethod
    def of(cls, root: Path, path: str, key: str) -> Self:
        """The record of a file that has just been written."""
        status = (root / path).stat()
        return cls(path, key, status.st_size, status.st_mtime_ns, sha256_file(root / path))

    def stands(self, root: Path) -> bool:
        """Whether the file is there as it was written."""
        try:
            status = (root / self.path).stat()
        except OSError:
            return False
        if not self.sha256 or status.st_size != self.size:
            return False
        return status.st_mtime_ns == self.changed or sha256_file(root / self.path) == self.sha256

    def changed_by_hand(self, root: Path) -> bool:
        """Whether the file is there, was once finished, and is no longer as it was written."""
        return bool(self.sha256) and (root / self.path).exists() and not self.stands(root)


@dataclass(frozen=True)
class Row:
    """A picture of this run. number: what its files are called by; it stays its own. place: among the sources.

    mask: where its mask comes from, "" for none. origin: likewise of its caption. caption_key: of all that the caption
    was made from.
    """

    number: int
    place: int
    decision: dict[str, Any]
    mask: str
    caption: str
    origin: str
    caption_key: str


class Ledger:
    """The database of one prepared folder; one process at a time writes it. Raises UserError if it is not one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.set_aside: dict[str, str] = {}  # of files that were in the way and not ours: where they lie now
        self._base = open_database(path, MIGRATIONS, "the record", "prepare into an empty folder")
        self._base.isolation_level = "DEFERRED"  # changes wait for commit()
        self.run = int(self.fact("run") or 0) + 1
        self.remember("run", str(self.run))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.commit()
        self._base.close()

    def commit(self) -> None:
        self._base.commit()

    def fact(self, name: str) -> str | None:
        """What was remembered of the folder as a whole."""
        found = self._base.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None

    def remember(self, name: str, value: str) -> None:
        self._base.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def decide(self, name: str, place: int, decision: dict[str, Any]) -> None:
        """Put down what is decided of a source in this run. It keeps the number of earlier runs, or gets the next."""
        self._base.execute(
            "INSERT INTO pictures (number, name, run, place, decision) "
            "VALUES ((SELECT coalesce(max(number), 0) + 1 FROM pictures), ?, ?, ?, ?) ON CONFLICT (name) "
            "DO UPDATE SET run = excluded.run, place = excluded.place, decision = excluded.decision",
            (plain(name), self.run, place, json.dumps(decision)),
        )

    def describe(self, number: int, caption: str, origin: str, key: str) -> None:
        """Put down the caption that was found for a picture."""
        values = (caption, origin, key, number)
        self._base.execute("UPDATE pictures SET caption = ?, origin = ?, caption_key = ? WHERE number = ?", values)

    def masked(self, number: int, origin: str) -> None:
        """Put down where a picture's mask comes from."""
        self._base.execute("UPDATE pictures SET mask = ? WHERE number = ?", (origin, number))

    def rows(self) -> Iterator[Row]:
        """The pictures of this run, by place; what is changed meanwhile is seen, a page later at most."""
        place = -1
        while True:
            with closing(self._base.cursor()) as cursor:
                cursor.execute(
                    "SELECT number, place, decision, mask, caption, origin, caption_key FROM pictures "
                    "WHERE run = ? AND place > ? ORDER BY place LIMIT ?",
                    (self.run, place, PAGE),
                )
                found = cursor.fetchall()
            for number, place, decision, *others in found:
                yield Row(number, place, json.loads(decision), *others)
            if len(found) < PAGE:
                return

    def file(self, path: str) -> Record | None:
        found = self._base.execute(
            "SELECT path, key, size, changed, sha256 FROM files WHERE path = ?", (path,)
        ).fetchone()
        return Record(*found) if found else None

    def want(self, path: str) -> Record:
        """Say that a file belongs to the folder in this run, before it is written; returns what is known of it."""
        self._base.execute(
            "INSERT INTO files VALUES (?, ?, '', 0, 0, '') ON CONFLICT (path) DO UPDATE SET run = excluded.run",
            (path, self.run),
        )
        found = self.file(path)
        assert found is not None
        return found

    def wrote(self, record: Record) -> None:
        self._base.execute(
            "UPDATE files SET key = ?, size = ?, changed = ?, sha256 = ? WHERE path = ?",
            (record.key, record.size, record.changed, record.sha256, record.path),
        )

    def unwant(self, path: str) -> None:
        """Say that a file does not belong to the folder after all."""
        self._base.execute("UPDATE files SET run = 0 WHERE path = ?", (path,))

    def owns(self, path: str) -> bool:
        return self.file(path) is not None

    def unwanted(self) -> list[Record]:
        """Files of earlier runs that do not belong to the folder in this one; some of them, ask again until none."""
        found = self._base.execute(
            "SELECT path, key, size, changed, sha256 FROM files WHERE run != ? ORDER BY path LIMIT ?", (self.run, PAGE)
        ).fetchall()
        return [Record(*each) for each in found]

    def forget(self, path: str) -> None:
        self._base.execute("DELETE FROM files WHERE path = ?", (path,))


def read_fact(path: Path, name: str) -> str | None:
    """What the database at a path remembers of its folder, which is left as it is; None if there is none."""
    if not path.is_file():
        return None
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as base:
        found = base.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return found[0] if found else None
    return None


def plain(name: str) -> str:
    """A name as text that a database and a file take: bytes that are no UTF-8 are written out."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
