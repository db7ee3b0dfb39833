"""The queue: every job that was ever given, in SQLite, so that it survives restarts of the server and the machine."""

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from limner.database import open_database
from limner.errors import UserError

Status = Literal["queued", "running", "paused", "done", "failed", "cancelled"]
OPEN: tuple[Status, ...] = ("queued", "running", "paused")

MIGRATIONS = (
    """
    CREATE TABLE jobs (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        kind TEXT NOT NULL,
        lane TEXT NOT NULL,
        title TEXT NOT NULL,
        request TEXT NOT NULL,
        status TEXT NOT NULL,
        hidden INTEGER NOT NULL,
        position REAL NOT NULL,
        attempts INTEGER NOT NULL,
        created REAL NOT NULL,
        started REAL,
        ended REAL,
        error TEXT NOT NULL,
        progress TEXT NOT NULL,
        result TEXT
    );
    CREATE INDEX jobs_by_status ON jobs (status, lane, position);
    CREATE TABLE datasets (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL,
        created REAL NOT NULL
    );
    CREATE TABLE options (name TEXT PRIMARY KEY, value TEXT NOT NULL);
    """,
)


class Busy(UserError):
    """There is too much to do already; it may be asked again after some seconds."""

    seconds = 10


@dataclass(frozen=True)
class Job:
    """A row of the queue. request: plain values of the kind's request. position: smaller ones are taken first.

    hidden: made by a program through the webui's API, not shown, and forgotten when it is answered. attempts: how often
    a worker took it up since a person last did. Times in seconds since 1970. progress: as progress.py folds it.
    """

    id: int
    kind: str
    lane: str
    title: str
    request: dict[str, Any]
    status: Status
    hidden: bool
    position: float
    attempts: int
    created: float
    started: float | None
    ended: float | None
    error: str
    progress: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] | None = None


COLUMNS = ", ".join(Job.__dataclass_fields__)


class Jobs:
    """The table of jobs. For several threads: one connection, one at a time. changes: how often a row changed."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.RLock()
        self.changes = 0
        self._db = open_database(path, MIGRATIONS, "the queue", shared=True)

    def close(self) -> None:
        self._db.close()

    def add(self, kind: str, lane: str, title: str, request: dict[str, Any], hidden: bool = False) -> Job:
        now = time.time()
        with self._lock:
            found = self._db.execute(
                "INSERT INTO jobs (kind, lane, title, request, status, hidden, position, attempts, created, error, "
                "progress) VALUES (?, ?, ?, ?, 'queued', ?, ?, 0, ?, '', '{}')",
                [kind, lane, title, json.dumps(request), hidden, now, now],
            )
            assert found.lastrowid is not None
            self.changes += 1
            return self.get(found.lastrowid)

    def get(self, number: int) -> Job:
        """Raises UserError if there is no such job."""
        row = None
        if 0 < number < 2**63:  # what SQLite counts to
            with self._lock:
                row = self._db.execute(f"SELECT {COLUMNS} FROM jobs WHERE id = ?", [number]).fetchone()
        if row is None:
            raise UserError(f"there is no job {number}; it was removed, or never given")
        return _job(row)

    def find(self, statuses: Iterable[Status] = (), hidden: bool | None = False, limit: int = 1000) -> list[Job]:
        """Jobs of these statuses, any if none are given: those that wait or run in their order, then the latest."""
        wanted = list(statuses)
        conditions = [f"status IN ({', '.join('?' * len(wanted))})"] if wanted else []
        conditions += [] if hidden is None else [f"hidden = {int(hidden)}"]
        where = " AND ".join(conditions) or "1"
        order = "CASE status WHEN 'running' THEN 0 WHEN 'queued' THEN 1 WHEN 'paused' THEN 2 ELSE 3 END"
        text = f"SELECT {COLUMNS} FROM jobs WHERE {where} ORDER BY {order}, "
        text += "CASE WHEN status = 'queued' THEN position END, ended DESC, id DESC LIMIT ?"
        with self._lock:
            return [_job(row) for row in self._db.execute(text, [*wanted, limit])]

    def next(self, lane: str) -> Job | None:
        """The job that a free worker of a lane takes up."""
        text = f"SELECT {COLUMNS} FROM jobs WHERE status = 'queued' AND lane = ? ORDER BY position, id LIMIT 1"
        with self._lock:
            row = self._db.execute(text, [lane]).fetchone()
        return None if row is None else _job(row)

    def waiting(self, lane: str) -> int:
        """How many jobs of a lane nobody has taken up."""
        with self._lock:
            return self._db.execute(
                "SELECT count(*) FROM jobs WHERE status = 'queued' AND lane = ?", [lane]
            ).fetchone()[0]

    def update(self, number: int, **values: Any) -> Job:
        """Change a job's columns; dicts become JSON. Raises UserError if there is no such job."""
        plain = {name: json.dumps(value) if isinstance(value, dict) else value for name, value in values.items()}
        names = ", ".join(f"{name} = ?" for name in plain)
        with self._lock:
            self._db.execute(f"UPDATE jobs SET {names} WHERE id = ?", [*plain.values(), number])
            self.changes += 1
            return self.get(number)

    def note_progress(self, number: int, progress: dict[str, Any]) -> None:
        """Keep how far a job is; not one of the changes that are counted."""
        with self._lock:
            self._db.execute("UPDATE jobs SET progress = ? WHERE id = ?", [json.dumps(progress), number])

    def remove(self, number: int) -> None:
        with self._lock:
            self._db.execute("DELETE FROM jobs WHERE id = ?", [number])
            self.changes += 1

    # Sets of pictures

    def add_dataset(self, name: str) -> int:
        with self._lock:
            found = self._db.execute("INSERT INTO datasets (name, created) VALUES (?, ?)", [name, time.time()])
        assert found.lastrowid is not None
        return found.lastrowid

    def datasets(self) -> list[dict[str, Any]]:
        """The latest first."""
        with self._lock:
            rows = self._db.execute("SELECT id, name, created FROM datasets ORDER BY id DESC").fetchall()
        return [dict(zip(("id", "name", "created"), row, strict=True)) for row in rows]

    def dataset(self, number: int) -> dict[str, Any]:
        """Raises UserError if there is no such set."""
        found = next((each for each in self.datasets() if each["id"] == number), None)
        if found is None:
            raise UserError(f"there is no set of pictures {number}; it was removed, or never made")
        return found

    def rename_dataset(self, number: int, name: str) -> None:
        with self._lock:
            self._db.execute("UPDATE datasets SET name = ? WHERE id = ?", [name, number])

    def remove_dataset(self, number: int) -> None:
        with self._lock:
            self._db.execute("DELETE FROM datasets WHERE id = ?", [number])

    # What programs that talk to the webui's API set once

    def options(self) -> dict[str, Any]:
        with self._lock:
            rows = self._db.execute("SELECT name, value FROM options").fetchall()
        return {name: json.loads(value) for name, value in rows}

    def set_option(self, name: str, value: Any) -> None:
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO options VALUES (?, ?)", [name, json.dumps(value)])


def _job(row: tuple[Any, ...]) -> Job:
    values = dict(zip(Job.__dataclass_fields__, row, strict=True))
    values["request"], values["progress"] = json.loads(values["request"]), json.loads(values["progress"])
    values["result"] = None if values["result"] is None else json.loads(values["result"])
    return Job(**values | {"hidden": bool(values["hidden"])})
