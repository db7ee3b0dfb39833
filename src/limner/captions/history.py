"""What captions were before they were changed: one file in the folder, by which each change can be undone."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from limner.errors import UserError
from limner.files import atomic_path

HISTORY = Path(".limner") / "captions.jsonl"
MOST_KEPT = 20  # changes that can be undone, the last ones


@dataclass(frozen=True)
class Before:
    """A file of captions. before: its bytes in base64, None if there was none. after: SHA-256 of what was written."""

    file: str
    before: str | None
    after: str


def write(root: Path, files: Mapping[Path, str]) -> None:
    """Write files of captions, each at once, after what they were is put down. Raises UserError."""
    befores = []
    for path, text in files.items():
        before = base64.b64encode(path.read_bytes()).decode() if path.exists() else None
        befores.append(asdict(Before(_relative(root, path), before, hashlib.sha256(text.encode()).hexdigest())))
    line = json.dumps({"when": datetime.now(UTC).isoformat(timespec="seconds"), "files": befores})
    _put(root, [*_lines(root)[-MOST_KEPT + 1 :], line])
    for path, text in files.items():
        with atomic_path(path) as temporary:
            temporary.write_bytes(text.encode())


@dataclass(frozen=True)
class Undone:
    """What the last change was, and what became of it. left: files that were edited since, and stay as they are."""

    when: str
    restored: list[Path]
    left: list[Path]


def undo(root: Path) -> Undone:
    """Put back what the last change replaced. Raises UserError if there is none to undo."""
    lines = _lines(root)
    if not lines:
        raise UserError(f"nothing to undo in {root}: limner captions has written nothing there that is not undone")
    try:
        last = json.loads(lines[-1])
        befores = [Before(**each) for each in last["files"]]
        when = str(last["when"])
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise UserError(f"{root / HISTORY} is damaged ({error}); move it away") from error
    restored, left = [], []
    for each in befores:
        path = _inside(root, each.file)
        there = path.read_bytes() if path.exists() else None
        before = None if each.before is None else base64.b64decode(each.before)
        if there == before:
            continue
        if there is None or hashlib.sha256(there).hexdigest() != each.after:
            left.append(path)
        elif before is None:
            path.unlink()
            restored.append(path)
        else:
            with atomic_path(path) as temporary:
                temporary.write_bytes(before)
            restored.append(path)
    _put(root, lines[:-1])
    return Undone(when, restored, left)


def _lines(root: Path) -> list[str]:
    path = root / HISTORY
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


def _put(root: Path, lines: list[str]) -> None:
    path = root / HISTORY
    if not lines:
        path.unlink(missing_ok=True)
        if path.parent.is_dir() and not any(path.parent.iterdir()):
            path.parent.rmdir()
        return
    with atomic_path(path) as temporary:
        temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _relative(root: Path, path: Path) -> str:
    """A file's path from the folder. Raises UserError if it lies elsewhere, as a data-set file can name it."""
    whole, base = path.resolve(), root.resolve()
    if not whole.is_relative_to(base):
        raise UserError(f"{path} lies outside of {root}, in which changes are kept; give the folder of {path} itself")
    return whole.relative_to(base).as_posix()


def _inside(root: Path, name: str) -> Path:
    """The file of that name in the folder; the history may have come with the folder from a stranger."""
    path = root / name
    if not path.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{root / HISTORY} names {name!r}, which lies outside of the folder; move that file away")
    return path
