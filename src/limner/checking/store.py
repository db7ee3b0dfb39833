"""What was measured of pictures, on disk as it is measured, so that a second look is free and a stopped one goes on.

Two files that only grow: `facts.jsonl`, a line a picture behind a line about the file itself, and `features.i8`, a row
of int8 for each of those lines. Rows are written before their lines, so that a whole line has its row;
what a killed process left behind the last whole line is cut off when the store is opened again.
"""

import hashlib
import json
import os
import tempfile
from array import array
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from limner.checking.facts import MEASURED, WIDTH, Facts
from limner.checking.measure import Measure, Measured
from limner.data.source import Source
from limner.errors import UserError
from limner.files import atomic_path, locked

FACTS, FEATURES = "facts.jsonl", "features.i8"
HELD = 32  # pictures whose facts are in memory alone; a kill loses them


class Store:
    """Facts and features by row, in the order in which they were measured. In memory 24 bytes a picture.

    A picture is known by its name, its file's size and the time of its last change; the row of one that changed since
    stays, unused. One process at a time has a store open. Raises UserError if the folder cannot be used.

    measure: how what is new to it is measured; what was measured by another model of faces is not kept.
    """

    def __init__(self, folder: Path, measure: Measure | None = None, option: str | None = None) -> None:
        self.folder = folder
        self.measure: Callable[[Source], Measured] = measure or Measure()
        self._faces = (measure or Measure()).faces.name
        self._stack = ExitStack()
        self._lines: list[bytes] = []
        self._rows: list[NDArray[np.int8]] = []
        self._places = array("q")  # of each row's line in the file; negative for those in memory alone
        try:
            self._stack.enter_context(locked(folder, option=option))
            self._open()
        except OSError as error:
            self._stack.close()
            way = f"choose another place with {option}" if option else "make it writable"
            raise UserError(f"cannot keep facts in {folder}: {error.strerror}; {way}") from error
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._places)

    def find(self, source: Source) -> int | None:
        """The row of what is known of this very file, None if it is not there or changed since."""
        stamp = stamp_of(source)
        key = _key(source.name, stamp)
        at = int(np.searchsorted(self._sorted, key))
        if at == len(self._sorted) or self._sorted[at] != key:
            return None
        row = int(self._order[at])
        line = self._line(row)
        return row if line["facts"]["name"] == source.name and line["stamp"] == stamp else None

    def add(self, source: Source, measured: Measured) -> int:
        """Keep what was measured of a picture. Returns its row."""
        facts, features = measured.facts, measured.features
        row = len(self._places)
        line = {"stamp": stamp_of(source), "facts": facts.to_dict()}
        self._places.append(-1 - len(self._lines))
        self._lines.append((json.dumps(line, separators=(",", ":")) + "\n").encode())
        self._rows.append(np.zeros(WIDTH, np.int8) if features is None else features)
        if len(self._lines) >= HELD:
            self.flush()
        return row

    def facts(self, row: int) -> Facts:
        return Facts.from_dict(self._line(row)["facts"])

    def features(self) -> NDArray[np.int8]:
        """(pictures, WIDTH), mapped from disk; all zero where a picture has none."""
        self.flush()
        if not self._places:
            return np.zeros((0, WIDTH), np.int8)
        return np.memmap(self.folder / FEATURES, np.int8, "r", shape=(len(self._places), WIDTH))

    def flush(self) -> None:
        """Bring to disk what is in memory alone."""
        if not self._lines:
            return
        with (self.folder / FEATURES).open("ab") as stream:
            stream.write(b"".join(row.tobytes() for row in self._rows))
            stream.flush()
            os.fsync(stream.fileno())
        first = len(self._places) - len(self._lines)
        end = self._file.seek(0, os.SEEK_END)
        for number, line in enumerate(self._lines):
            self._places[first + number] = end
            end += len(line)
        self._file.write(b"".join(self._lines))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._lines, self._rows = [], []

    def close(self) -> None:
        try:
            if not self._file.closed:
                self.flush()
                self._file.close()
        finally:
            self._stack.close()

    def _open(self) -> None:
        path, features = self.folder / FACTS, self.folder / FEATURES
        told = {"measured": MEASURED, "faces": self._faces, "fields": [each.name for each in fields(Facts)]}
        header = json.dumps(told) + "\n"
        if not path.exists() or not _begins(path, header.encode()):
            features.unlink(missing_ok=True)
            with atomic_path(path) as temporary:
                temporary.write_text(header, encoding="utf-8")
        features.touch()
        self._file: BinaryIO = path.open("rb+")
        self._stack.callback(self._file.close)
        keys = array("Q")
        most = features.stat().st_size // WIDTH
        whole = len(self._file.readline())
        for line in self._file:
            values = _read(line)
            if values is None or len(keys) >= most:
                break
            keys.append(_key(values["facts"]["name"], values["stamp"]))
            self._places.append(whole)
            whole += len(line)
        self._file.truncate(whole)
        os.truncate(features, len(keys) * WIDTH)
        found = np.array(keys, np.uint64)
        # Of equal ones the newest counts: sorted backwards and stably, it is the first that searchsorted meets.
        backwards = np.argsort(found[::-1], kind="stable")
        self._order = (len(found) - 1 - backwards).astype(np.uint32)
        self._sorted = found[self._order]

    def _line(self, row: int) -> dict[str, Any]:
        place = self._places[row]
        if place < 0:
            return json.loads(self._lines[-1 - place])
        self._file.seek(place)
        return json.loads(self._file.readline())


@contextmanager
def passing_store() -> Iterator[Store]:
    """A store that is gone at the end of the block."""
    with tempfile.TemporaryDirectory(prefix="limner-facts-") as folder, Store(Path(folder)) as store:
        yield store


def stamp_of(source: Source) -> str:
    """What changes when a file does: its size and the time of its last change; of a zip's member, the zip's."""
    try:
        found = (source.root if source.archive else source.path).stat()
    except OSError:
        return ""  # what reads it will say so
    return f"{found.st_size} {found.st_mtime_ns}"


def _key(name: str, stamp: str) -> int:
    digest = hashlib.blake2b(f"{name}\0{stamp}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "little")


def _begins(path: Path, header: bytes) -> bool:
    """Whether a store is of today's measurements: what it holds is of no use else."""
    with path.open("rb") as stream:
        return stream.read(len(header)) == header


def _read(line: bytes) -> dict[str, Any] | None:
    """A line's values, None if it is not whole."""
    if not line.endswith(b"\n"):
        return None
    try:
        values = json.loads(line)
        return values if isinstance(values["stamp"], str) and isinstance(values["facts"]["name"], str) else None
    except (ValueError, KeyError, TypeError):
        return None
