"""SQLite files that several processes may have open, brought up to date by a list of migrations."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from limner.errors import UserError

SECONDS_TO_WAIT = 60.0  # for another process's writing
DAMAGED = {sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
NO_ROOM = {sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR}  # the lowest byte of a code says of what kind it is


def open_database(
    path: Path,
    migrations: Sequence[str],
    what: str = "the database",
    instead: str = "choose another place",
    shared: bool = False,
) -> sqlite3.Connection:
    """A connection in autocommit mode (see `changing`), to be used by the thread that opened it, or if it is `shared`
    by one thread at a time. The file and its folder are made if need be. What is committed outlives the process; after
    a loss of power the last seconds may be missing, nothing is damaged (WAL, synchronous = NORMAL).

    migrations: scripts, of which a file has seen so many as its user_version says; they are only ever added to.
    what, instead: words for errors, as in "cannot keep <what> <path>: ...; <instead>".

    Raises UserError if the place cannot be used, the file is no database, or one of a newer Limner or another program.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        database = sqlite3.connect(path, timeout=SECONDS_TO_WAIT, isolation_level=None, check_same_thread=not shared)
        try:
            _prepare(database, path, migrations, what, instead)
        except BaseException:
            database.close()
            raise
    except OSError as error:
        raise UserError(f"cannot keep {what} {path}: {error.strerror}; {instead}") from error
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", 0)
        hint = "move it away, and it is made anew" if code in DAMAGED else instead
        if code & 0xFF in NO_ROOM:
            hint = "see whether the disk is full, and make room on it"
        raise UserError(f"cannot use {what} {path} ({error}); {hint}") from error
    return database


@contextmanager
def changing(database: sqlite3.Connection) -> Iterator[None]:
    """All changes of the block at once, or none; other processes' changes wait."""
    database.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        database.execute("ROLLBACK")
        raise
    database.execute("COMMIT")


def remove_database(path: Path) -> None:
    """Remove a database that no process has open, and what SQLite keeps beside it."""
    for ending in ("", "-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)


def _prepare(database: sqlite3.Connection, path: Path, migrations: Sequence[str], what: str, instead: str) -> None:
    """A new database takes no waiting while it changes over to WAL: of two processes one has to try again."""
    deadline = time.monotonic() + SECONDS_TO_WAIT
    while True:
        try:
            if database.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = NORMAL")
            _migrate(database, path, migrations, what, instead)
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _migrate(database: sqlite3.Connection, path: Path, migrations: Sequence[str], what: str, instead: str) -> None:
    if _version(database) == len(migrations):
        return
    with changing(database):
        version = _version(database)  # another process may have been faster
        if version > len(migrations):
            raise UserError(f"{what} {path} is of a newer Limner; update this one, or {instead}")
        if not version and database.execute("SELECT 1 FROM sqlite_master").fetchone():
            raise UserError(f"{path} is a database of another program and cannot be {what}; {instead}")
        for migration in migrations[version:]:
            for statement in _statements(migration):
                database.execute(statement)
        database.execute(f"PRAGMA user_version = {len(migrations)}")


def _version(database: sqlite3.Connection) -> int:
    return database.execute("PRAGMA user_version").fetchone()[0]


def _statements(script: str) -> Iterator[str]:
    """One by one, for executescript would end the transaction."""
    text = ""
    for part in script.split(";"):
        text += part + ";"
        if sqlite3.complete_statement(text):
            if text.strip() != ";":
                yield text
            text = ""
