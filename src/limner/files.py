"""Atomic writes, content hashes, and locks."""

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from limner.errors import UserError
from limner.texts import display

MOST_NAME_BYTES = 255  # of a file's name, on nearly every file system


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """A temporary path beside `target` that replaces it when the block ends well, and is removed when it does not.

    Raises UserError if the folder cannot be made or written to.
    """
    check_name(target)
    stem, suffix = shortened(target.stem, 40), shortened(target.suffix, 40)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{stem}.", suffix=suffix)
    except OSError as error:
        raise UserError(
            f"cannot write {target}: {error.strerror}; make its folder writable, or choose another place"
        ) from error
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def require_writable(target: Path, option: str = "--out", what: str = "") -> None:
    """Raise UserError unless `target` can be written: found out by trying, since permissions do not tell all.

    `option` is what names another place; what: that lies there, if the path alone does not say. Nothing stays behind.
    """
    check_name(target)
    if target.is_dir():
        raise UserError(f"cannot write {target}: it is a folder; give the name of a file")
    made: list[Path] = []
    try:
        for folder in reversed([target.parent, *target.parent.parents]):
            if not folder.exists():
                folder.mkdir()
                made.append(folder)
        handle, name = tempfile.mkstemp(dir=target.parent)
        os.close(handle)
        Path(name).unlink()
    except OSError as error:
        whole = f"{what} in {target.parent}" if what else target
        raise UserError(f"cannot write {whole}: {error.strerror}; choose another place with {option}") from error
    finally:
        for folder in reversed(made):
            folder.rmdir()


def require_cache(cache: Path, option: str = "--cache") -> None:
    """Raise UserError that names what helps, unless the cache's folder can be written.

    option: of the command that names another folder, "" if it has none.
    """
    helps = " or ".join(filter(None, (option, "the environment variable LIMNER_CACHE")))
    require_writable(cache / "limner", helps, "the cache")


def check_name(target: Path) -> None:
    """Raise UserError for a name that file systems refuse; they do so only when the file gets it, at the very end."""
    if len(os.fsencode(target.name)) > MOST_NAME_BYTES:
        raise UserError(
            f"cannot write {display(target)}: its name is longer than {MOST_NAME_BYTES} bytes; give a shorter one"
        )


def shortened(name: str, most_bytes: int) -> str:
    """The beginning of a name, of at most so many bytes on disk, without half a letter at its end."""
    while len(os.fsencode(name)) > most_bytes:
        name = name[:-1]
    return name


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(target: Path, text: str) -> None:
    """Write a text in UTF-8; bytes of names that are none are written out, as JSON reads them back."""
    with atomic_path(target) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def locked(folder: Path, seconds: float = 0.0) -> Iterator[None]:
    """Keep other processes out of a folder, made if need be. Raises UserError if one is in, and stays for `seconds`."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise UserError(f"another limner is at work in {folder}; wait for it, or stop it") from error
    try:
        yield
    finally:
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process is at work in a folder."""
    if not folder.is_dir():
        return False
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False
