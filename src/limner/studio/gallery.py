"""What was drawn: a row for each picture in the studio's folder, by which alone a picture is found.

The worker that draws writes the file and then the row; the server reads rows, and gives out the file of one.
"""

import json
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.database import changing, open_database
from limner.errors import UserError
from limner.studio.places import Places

MIGRATIONS = (
    """
    CREATE TABLE pictures (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        time REAL NOT NULL,
        kind TEXT NOT NULL,
        job INTEGER,
        width INTEGER NOT NULL,
        height INTEGER NOT NULL,
        seed INTEGER NOT NULL,
        infotext TEXT NOT NULL,
        request TEXT NOT NULL
    );
    """,
    """
    CREATE TABLE inputs (
        name TEXT NOT NULL,
        picture INTEGER NOT NULL,
        PRIMARY KEY (name, picture)
    ) WITHOUT ROWID;
    CREATE INDEX inputs_by_picture ON inputs (picture);
    """,
)


@dataclass(frozen=True)
class Picture:
    """A picture that was drawn. name: of its file below the folder of pictures, with slashes. time: in seconds since
    1970. kind: "picture" or "grid". job: that drew it. request: the values of the job's request that give it again,
    seed and all."""

    id: int
    name: str
    time: float
    kind: str
    job: int | None
    width: int
    height: int
    seed: int
    infotext: str
    request: dict[str, Any]


COLUMNS = ", ".join(Picture.__dataclass_fields__)


class Gallery:
    """The rows, and the files that they stand for. For several threads, one at a time, and several processes."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._lock = threading.RLock()
        self._db = open_database(places.root / "pictures.sqlite", MIGRATIONS, "the list of pictures", shared=True)

    def close(self) -> None:
        self._db.close()

    def add(self, name: str, **values: Any) -> int:
        """Keep a picture whose file is there; values: the other columns. Returns its number."""
        row: dict[str, Any] = {"name": name, "time": time.time(), "kind": "picture", "job": None} | values
        started_from = set(inputs_of(row["request"]))
        row["request"] = json.dumps(row["request"], ensure_ascii=False)
        marks = ", ".join("?" * len(row))
        with self._lock, changing(self._db):
            found = self._db.execute(f"INSERT INTO pictures ({', '.join(row)}) VALUES ({marks})", list(row.values()))
            number = found.lastrowid
            assert number is not None
            self._db.executemany("INSERT INTO inputs VALUES (?, ?)", [(each, number) for each in started_from])
        return number

    def find(self, before: int | None = None, after: int = 0, limit: int = 50) -> list[Picture]:
        """The newest first, of numbers between those two. Those whose file was taken away leave the list."""
        text = f"SELECT {COLUMNS} FROM pictures WHERE id < ? AND id > ? ORDER BY id DESC LIMIT ?"
        found: list[Picture] = []
        last = 2**62 if before is None else before
        while len(found) < limit:
            with self._lock:
                rows = self._db.execute(text, [last, after, limit - len(found)]).fetchall()
            if not rows:
                break
            last = rows[-1][0]
            for picture in map(_picture, rows):
                if self.file(picture).is_file():
                    found.append(picture)
                else:
                    self.remove(picture)
        return found

    def get(self, number: int) -> Picture:
        """Raises UserError if there is no such picture."""
        with self._lock:
            row = self._db.execute(f"SELECT {COLUMNS} FROM pictures WHERE id = ?", [number]).fetchone()
        if row is None or not self.file(_picture(row)).is_file():
            raise UserError(f"there is no picture {number}; it was removed, or never drawn")
        return _picture(row)

    def inputs(self) -> set[str]:
        """The names of what its pictures were drawn from."""
        with self._lock:
            return {name for (name,) in self._db.execute("SELECT DISTINCT name FROM inputs")}

    def file(self, picture: Picture) -> Path:
        return self.places.pictures / picture.name

    def thumbnail(self, picture: Picture) -> Path:
        return thumbnail_of(self.places, picture.name)

    def remove(self, picture: Picture) -> None:
        """The row, the file and its thumbnail; what it was drawn from is its caller's to release."""
        with self._lock, changing(self._db):
            self._db.execute("DELETE FROM pictures WHERE id = ?", [picture.id])
            self._db.execute("DELETE FROM inputs WHERE picture = ?", [picture.id])
        self.file(picture).unlink(missing_ok=True)
        self.thumbnail(picture).unlink(missing_ok=True)


def thumbnail_of(places: Places, name: str) -> Path:
    """Where the small copy of a picture lies: not among the pictures, which are the person's to look through."""
    return (places.root / "thumbnails" / name).with_suffix(".webp")


def inputs_of(request: dict[str, Any]) -> list[str]:
    """The names of the pictures that a job's request starts from, and of their mask (inputs.py)."""
    init = request.get("init") or {}
    return [name for name in (*init.get("images", ()), init.get("mask")) if name is not None]


def _picture(row: tuple[Any, ...]) -> Picture:
    values = dict(zip(Picture.__dataclass_fields__, row, strict=True))
    return Picture(**values | {"request": json.loads(values["request"])})
