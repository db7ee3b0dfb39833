"""Databases: made, brought up to date, shared by processes, and refused by name."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from limner.database import changing, open_database, remove_database
from limner.errors import UserError

FIRST = """
CREATE TABLE pictures (name TEXT PRIMARY KEY, size INTEGER NOT NULL);
CREATE TABLE changes (count INTEGER NOT NULL);
INSERT INTO changes VALUES (0);
CREATE TRIGGER counted AFTER INSERT ON pictures BEGIN
    UPDATE changes SET count = count + 1;
END;
"""
SECOND = "ALTER TABLE pictures ADD COLUMN kind TEXT NOT NULL DEFAULT 'jpeg; or so'"


def test_a_file_is_made_and_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "x.sqlite"
    first = open_database(path, [FIRST])
    first.execute("INSERT INTO pictures VALUES ('a', 3)")
    first.close()
    second = open_database(path, [FIRST, SECOND])
    second.execute("INSERT INTO pictures VALUES ('b', 4, 'png')")
    assert second.execute("SELECT * FROM pictures").fetchall() == [("a", 3, "jpeg; or so"), ("b", 4, "png")]
    assert second.execute("SELECT count FROM changes").fetchone() == (2,)
    assert second.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    second.close()


def test_changes_of_a_block_happen_together_or_not_at_all(tmp_path: Path) -> None:
    database = open_database(tmp_path / "x.sqlite", [FIRST])

    def twice() -> None:
        with changing(database):
            database.execute("INSERT INTO pictures VALUES ('a', 3)")
            database.execute("INSERT INTO pictures VALUES ('a', 3)")

    with pytest.raises(sqlite3.IntegrityError):
        twice()
    assert database.execute("SELECT * FROM pictures").fetchall() == []
    database.close()


def test_a_migration_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    open_database(path, [FIRST]).close()
    with pytest.raises(UserError, match=r"x\.sqlite.*no such table"):
        open_database(path, [FIRST, SECOND + "; DROP TABLE nowhere"])
    database = open_database(path, [FIRST])
    assert [row[1] for row in database.execute("PRAGMA table_info(pictures)")] == ["name", "size"]
    database.close()


def test_what_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(UserError, match=r"the record .*bad\.sqlite .*move it away"):
        open_database(tmp_path / "bad.sqlite", [FIRST], "the record")
    open_database(tmp_path / "new.sqlite", [FIRST, SECOND]).close()
    with pytest.raises(UserError, match=r"new\.sqlite is of a newer Limner; update this one, or look away"):
        open_database(tmp_path / "new.sqlite", [FIRST], instead="look away")
    other = sqlite3.connect(tmp_path / "other.sqlite")
    other.execute("CREATE TABLE pictures (mine)")
    other.commit()
    other.close()
    with pytest.raises(UserError, match=r"other\.sqlite is a database of another program"):
        open_database(tmp_path / "other.sqlite", [FIRST])
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot keep the database"):
        open_database(tmp_path / "file" / "x.sqlite", [FIRST])


def test_a_removed_database_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    database = open_database(path, [FIRST])
    database.execute("INSERT INTO pictures VALUES ('a', 3)")
    del database  # left open, its WAL beside it, as a killed process leaves it
    remove_database(path)
    assert list(tmp_path.iterdir()) == []
    again = open_database(path, [FIRST])
    assert again.execute("SELECT * FROM pictures").fetchall() == []
    again.close()


WRITER = """
import sys
from pathlib import Path
from limner.database import changing, open_database
database = open_database(Path(sys.argv[1]), [sys.argv[2]])
for number in range(100):
    with changing(database):
        database.execute("INSERT INTO pictures VALUES (?, 1)", (sys.argv[3] + str(number),))
"""


def test_processes_that_begin_at_once_wait_for_each_other(tmp_path: Path) -> None:
    path = tmp_path / "x.sqlite"
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), FIRST, name], stderr=subprocess.PIPE, text=True)
        for name in "abc"
    ]
    assert [writer.communicate()[1] for writer in writers] == ["", "", ""]
    database = open_database(path, [FIRST])
    assert database.execute("SELECT count FROM changes").fetchone() == (300,)
    database.close()
