"""The database of the shelf: files by place, where fetched ones came from, and answers of the model sites for a while.

Several processes may have it open: SQLite keeps them apart (WAL), and whoever must wait for a writer does.
"""

import json
import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Self

from limner.config import library_path
from limner.database import changing, open_database
from limner.library.shelf import Described, Hashes, Origin, ShelfFile, Stamp

MIGRATIONS = (
    """
    CREATE TABLE files (
        root TEXT NOT NULL, name TEXT NOT NULL, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL, reader INTEGER NOT NULL, kind TEXT NOT NULL, form TEXT NOT NULL, family TEXT NOT NULL,
        keyword TEXT, container TEXT NOT NULL, problem TEXT NOT NULL, preview TEXT, text TEXT NOT NULL,
        details TEXT NOT NULL, sha256 TEXT, autov3 TEXT, PRIMARY KEY (root, name));
    CREATE INDEX files_by_hash ON files (sha256);
    CREATE INDEX files_by_kind ON files (root, kind, family, name);
    CREATE TABLE origins (sha256 TEXT PRIMARY KEY, facts TEXT NOT NULL, text TEXT NOT NULL, added REAL NOT NULL);
    CREATE TABLE answers (request TEXT PRIMARY KEY, body BLOB NOT NULL, expires REAL NOT NULL);
    CREATE INDEX answers_by_age ON answers (expires);
    """,
    "CREATE INDEX files_by_stamp ON files (size, mtime_ns, inode);",
)
MOST_ANSWERS = 2_000
COLUMNS = (
    "name, size, mtime_ns, inode, kind, form, family, keyword, container, problem, preview, files.sha256, "
    "autov3, origins.facts, details"
)
Order = Literal["name", "newest", "largest"]
ORDERS: dict[Order, str] = {"name": "name", "newest": "mtime_ns DESC, name", "largest": "size DESC, name"}
JOINED = "files LEFT JOIN origins ON origins.sha256 = files.sha256"


class Store:
    """The database. To be used by the thread that opened it. Raises UserError if it cannot be used."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or library_path()
        self._db = open_database(self.path, MIGRATIONS, "the index", "set $LIMNER_CACHE")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._db.close()

    def changing(self) -> AbstractContextManager[None]:
        """All changes of the block at once, or none."""
        return changing(self._db)

    # Files

    def stamps(self, root: Path) -> dict[str, tuple[Stamp, int, str | None]]:
        """{name: (stamp, number of the reader that described it, preview)} of all files of a root."""
        rows = self._db.execute(
            "SELECT name, size, mtime_ns, inode, reader, preview FROM files WHERE root = ?", [str(root)]
        )
        return {name: (Stamp(*stamp), reader, preview) for name, *stamp, reader, preview in rows}

    def put(self, root: Path, name: str, stamp: Stamp, reader: int, described: Described, preview: str | None) -> None:
        """Keep what a file's header says. Its hashes stay known as long as the stamp is the same, also by another
        name: who moves a file need not wait for them again."""
        known = self._db.execute(
            "SELECT sha256, autov3 FROM files WHERE root = ? AND size = ? AND mtime_ns = ? AND inode = ? "
            "AND sha256 IS NOT NULL",
            [str(root), stamp.size, stamp.mtime_ns, stamp.inode],
        ).fetchone()
        values: list[Any] = [str(root), name, stamp.size, stamp.mtime_ns, stamp.inode, reader]
        values += [described.kind, described.form, described.family, described.keyword, described.container]
        values += [described.problem, preview, _text(name, described)]
        values += [json.dumps(described.details, ensure_ascii=False, separators=(",", ":")), *(known or (None, None))]
        self._db.execute(f"INSERT OR REPLACE INTO files VALUES ({', '.join('?' * len(values))})", values)

    def described(self, name: str, stamp: Stamp, reader: int) -> Described | None:
        """What is known of the file with this stamp and file name in any folder, of any root: it was moved there, or is
        linked. Under another file name it may be something else: embeddings are called by it. None too of one that
        could not be read: what was said of it has its place in it."""
        last = "/" + name.rpartition("/")[2]
        row = self._db.execute(
            "SELECT kind, form, family, keyword, container, details FROM files WHERE size = ? AND mtime_ns = ? "
            "AND inode = ? AND reader = ? AND problem = '' AND substr(name, -length(?)) = ? LIMIT 1",
            [stamp.size, stamp.mtime_ns, stamp.inode, reader, last, last],
        ).fetchone()
        if row is None:
            return None
        kind, form, family, keyword, container, details = row
        return Described(kind, form, family, keyword, container, details=json.loads(details))

    def set_preview(self, root: Path, name: str, preview: str | None) -> None:
        self._db.execute("UPDATE files SET preview = ? WHERE root = ? AND name = ?", [preview, str(root), name])

    def remove(self, root: Path, name: str) -> None:
        self._db.execute("DELETE FROM files WHERE root = ? AND name = ?", [str(root), name])

    def rename(self, root: Path, name: str, new: str) -> None:
        """Let a file have another name, and its picture too. What its name may say of it, the word of an embedding or
        the base of a checkpoint, is read at the next scan."""
        found = self._db.execute("SELECT text, preview FROM files WHERE root = ? AND name = ?", [str(root), name])
        for text, preview in found.fetchall():
            picture = preview and new.rpartition(".")[0] + preview.removeprefix(name.rpartition(".")[0])
            values = [new, new.casefold() + text.removeprefix(name.casefold()), picture, str(root), name]
            self._db.execute(
                "UPDATE OR REPLACE files SET name = ?, text = ?, preview = ?, "
                "reader = CASE kind WHEN 'lora' THEN reader ELSE 0 END WHERE root = ? AND name = ?",
                values,
            )

    def set_hashes(self, root: Path, name: str, stamp: Stamp, hashes: Hashes) -> None:
        """Keep a file's hashes, unless it has changed since it was read."""
        self._db.execute(
            "UPDATE files SET sha256 = ?, autov3 = ? WHERE root = ? AND name = ? AND size = ? AND mtime_ns = ? "
            "AND inode = ?",
            [hashes.sha256, hashes.autov3, str(root), name, stamp.size, stamp.mtime_ns, stamp.inode],
        )

    def find(
        self,
        root: Path,
        query: str = "",
        kinds: Sequence[str] = (),
        families: Sequence[str] = (),
        limit: int | None = None,
        offset: int = 0,
        order: Order = "name",
    ) -> list[ShelfFile]:
        """Files of a root that have every word of the query in their names, keywords, titles or tags; of these kinds
        and families, any if none are given. A hash is a word too: the first 8 digits suffice."""
        conditions, values = _conditions(root, query, kinds, families)
        text = f"SELECT {COLUMNS} FROM {JOINED} WHERE {conditions} ORDER BY {ORDERS[order]} LIMIT ? OFFSET ?"
        cut = [-1 if limit is None else limit, offset]
        return [_file(root, row) for row in self._db.execute(text, [*values, *cut])]

    def count(
        self, root: Path, query: str = "", kinds: Sequence[str] = (), families: Sequence[str] = ()
    ) -> dict[str, int]:
        """{kind: how many files `find` would find without a limit}."""
        conditions, values = _conditions(root, query, kinds, families)
        tables = JOINED if query.strip() else "files"  # words are looked for in both
        return dict(self._db.execute(f"SELECT kind, count(*) FROM {tables} WHERE {conditions} GROUP BY kind", values))

    def get(self, root: Path, name: str) -> ShelfFile | None:
        text = f"SELECT {COLUMNS} FROM {JOINED} WHERE files.root = ? AND name = ?"
        row = self._db.execute(text, [str(root), name]).fetchone()
        return None if row is None else _file(root, row)

    def of_size(self, root: Path, size: int) -> list[ShelfFile]:
        """The files of a root that are exactly so large: those that can be a file of the same size."""
        rows = self._db.execute(f"SELECT {COLUMNS} FROM {JOINED} WHERE files.root = ? AND size = ?", [str(root), size])
        return [_file(root, row) for row in rows]

    def path_of(self, root: Path, hashes: Sequence[str]) -> Path | None:
        """A file of a root that is known to have one of these SHA-256."""
        marks = ", ".join("?" * len(hashes))
        found = self._db.execute(
            f"SELECT name FROM files WHERE root = ? AND sha256 IN ({marks}) LIMIT 1", [str(root), *hashes]
        )
        row = found.fetchone()
        return None if row is None else root / row[0]

    # Where they came from

    def remember(self, sha256: str, origin: Origin) -> None:
        """Keep where the file with this SHA-256 came from, whatever it is called."""
        text = " ".join((origin.title, origin.version, *origin.trained_words)).casefold()
        values = [sha256.lower(), origin.to_json(), text, time.time()]
        self._db.execute("INSERT OR REPLACE INTO origins VALUES (?, ?, ?, ?)", values)

    # What the sites answered

    def answer(self, request: str) -> bytes | None:
        """What a site answered to a request, if that is not too long ago."""
        found = self._db.execute("SELECT body FROM answers WHERE request = ? AND expires > ?", [request, time.time()])
        row = found.fetchone()
        return None if row is None else row[0]

    def keep_answer(self, request: str, body: bytes, seconds: float) -> None:
        with self.changing():
            self._db.execute("DELETE FROM answers WHERE expires <= ?", [time.time()])
            oldest = "SELECT request FROM answers ORDER BY expires DESC LIMIT -1 OFFSET ?"
            self._db.execute(f"DELETE FROM answers WHERE request IN ({oldest})", [MOST_ANSWERS - 1])
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", [request, body, time.time() + seconds])


def _conditions(root: Path, query: str, kinds: Iterable[str], families: Iterable[str]) -> tuple[str, list[str]]:
    """The WHERE of a search, and its values."""
    conditions, values = ["files.root = ?"], [str(root)]
    for column, wanted in (("kind", list(kinds)), ("family", list(families))):
        if wanted:
            conditions.append(f"{column} IN ({', '.join('?' * len(wanted))})")
            values += wanted
    for word in query.casefold().split():
        either = "instr(files.text, ?) OR instr(coalesce(origins.text, ''), ?)"
        digest = len(word) >= 8 and not set(word) - set("0123456789abcdef")
        conditions.append(
            f"({either} OR instr(files.sha256, ?) = 1 OR instr(autov3, ?) = 1)" if digest else f"({either})"
        )
        values += [word] * (4 if digest else 2)
    return " AND ".join(conditions), values


def _text(name: str, described: Described) -> str:
    """What a query is looked for in."""
    told = [described.details.get(key) for key in ("alias", "title", "base_name")]
    lists = [*described.details.get("tags", ()), *described.details.get("words", ())]
    words = [name, described.keyword, described.form, described.family, *told, *lists]
    return "\n".join(str(word) for word in words if word).casefold()


def _file(root: Path, row: tuple[Any, ...]) -> ShelfFile:
    name, size, mtime_ns, inode, kind, form, family, keyword, container, problem, preview, *rest = row
    sha256, autov3, origin, details = rest
    return ShelfFile(
        root=root,
        name=name,
        stamp=Stamp(size, mtime_ns, inode),
        kind=kind,
        form=form,
        family=family,
        keyword=keyword,
        container=container,
        problem=problem,
        preview=preview,
        hashes=None if sha256 is None else Hashes(sha256, autov3),
        origin=None if origin is None else Origin.from_json(origin),
        details_json=details,
    )
