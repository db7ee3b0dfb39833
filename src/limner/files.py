"""Atomic writes that replace nothing unasked, content hashes, and locks."""

import contextlib
import errno
import hashlib
import itertools
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from limner.errors import UserError
from limner.temporary import Temporary, is_temporary, shortened, temporary_file, temporary_folder
from limner.texts import display

MOST_NAME_BYTES = 255  # of a file's name, on nearly every file system
MARK_WITHIN = 65536  # bytes from a file's beginning
CHANGED = "was changed while it was being read, so nothing is written"


@contextmanager
def atomic_path(target: Path, option: str | None = None) -> Iterator[Path]:
    """A temporary path beside `target` that replaces it when the block ends well, and is removed when it does not.

    For files of our own; what a person gave a name goes through `new_file`. option: the one that names another place.
    Raises UserError if the folder cannot be made or written to.
    """
    with _temporary_file(target, option) as temporary:
        yield temporary.path
        _finish(temporary.path)
        temporary.replace(target)


@dataclass
class NewFile:
    """A file or folder on its way to its name. temporary: what to write. path: its name, for certain once the block has
    ended: another than was wished for if something had that by then."""

    temporary: Path
    path: Path


def free_names(wished: Path) -> Iterator[Path]:
    """A path, and others like it with a number, none longer than names can be; whether they are free is not asked."""
    yield wished
    suffix = wished.suffix if len(os.fsencode(wished.suffix)) < MOST_NAME_BYTES // 2 else ""
    stem = wished.name.removesuffix(suffix)
    for number in itertools.count(2):
        end = f"-{number}{suffix}"
        yield wished.with_name(shortened(stem, MOST_NAME_BYTES - len(os.fsencode(end))) + end)


@contextmanager
def new_file(
    target: Path,
    overwrite: bool = False,
    option: str | None = "--out",
    is_ours: Callable[[Path], bool] = lambda _: False,
    names: Callable[[Path], Iterator[Path]] = free_names,
    beside: Sequence[str] = (),
) -> Iterator[NewFile]:
    """A result's file, which never takes the place of another unless that is wished for: whole or not at all.

    Whether something has its name is asked when it gets it, in one move with getting it; then it gets the next free one
    of `names`, by default with a number behind it. overwrite: take the place of whatever file has the name. is_ours: of
    a file that has it, whether it may be replaced unasked. option: the one that names another place. beside: endings of
    files that come with it, whose names must be free as well. A folder that has the name keeps it whatever is wished
    for. Raises UserError if the folder cannot be written to.
    """
    with _temporary_file(target, option) as temporary:
        new = NewFile(temporary.path, target)
        yield new
        _finish(temporary.path)
        if not target.is_dir() and (overwrite or (target.exists() and is_ours(target))):
            temporary.replace(target)
            return
        new.path = next(path for path in names(target) if _are_free(path, beside) and temporary.take(path))


@contextmanager
def new_folder(target: Path, overwrite: bool = False, option: str | None = "--out") -> Iterator[NewFile]:
    """A result's folder, as `new_file` has it; the temporary path is not there yet. With `overwrite` a folder of that
    name is removed once the new one is in its place."""
    check_name(target)
    try:
        with temporary_folder(target) as (temporary, before):
            new = NewFile(temporary.path, target)
            yield new
            if overwrite and target.is_dir() and not target.is_symlink():
                target.replace(before)
            new.path = next(path for path in free_names(target) if temporary.take(path))
    except OSError as error:
        raise UserError(f"cannot write {target}: {error.strerror}; {elsewhere(option)}") from error


def require_writable(target: Path, option: str | None = "--out", what: str = "") -> None:
    """Raise UserError unless `target` can be written: found out by trying, since permissions do not tell all.

    `option` is what names another place; what: that lies there, if the path alone does not say. Nothing stays behind,
    nor what dead processes left there.
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
        with temporary_file(target):
            pass
    except OSError as error:
        whole = f"{what} in {target.parent}" if what else target
        raise UserError(f"cannot write {whole}: {error.strerror}; {elsewhere(option)}") from error
    finally:
        with contextlib.suppress(OSError):  # somebody put something there
            for folder in reversed(made):
                folder.rmdir()


def require_not_read(out: Path, inputs: Iterable[Path]) -> None:
    """Raise UserError if writing `out` would replace what is read, by whatever path, link or case of letters: one of
    the inputs, something in a folder among them, or a folder that holds one."""
    for source in inputs:
        if not source.exists() or not out.exists():
            continue
        if out.samefile(source):
            raise UserError(f"{out} is what is to be read; give the result another name")
        if lies_in(out, source):
            raise UserError(f"{out} lies in {source}, which is to be read; give the result another name")
        if lies_in(source, out):
            raise UserError(f"{out} holds {source}, which is to be read; give the result another name")


@contextmanager
def unchanged(*paths: Path) -> Iterator[None]:
    """Files that are read, for good, within the block. Raises UserError at its end if one was changed meanwhile."""
    stamps = {path: stamp_of(path) for path in paths}
    yield
    require_unchanged(stamps)


def require_unchanged(stamps: Mapping[Path, tuple[int, ...]], since: str = CHANGED) -> None:
    """Raise UserError if a file is another than when its stamp was taken: what was read of it may be of both.

    since: what to say of it, for readers that write nothing, or that were done reading.
    """
    for path, stamp in stamps.items():
        if stamp != stamp_of(path):
            raise UserError(f"{path} {since}; give the same command again")


def stamp_of(path: Path) -> tuple[int, ...]:
    """What tells a file from what it is later, () if it is not there."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def require_ours(path: Path, mark: bytes, option: str = "--out") -> None:
    """Raise UserError if something is at a path that does not say near its beginning that the command wrote it."""
    if path.is_dir():
        raise UserError(f"cannot write {path}: it is a folder; choose another place with {option}")
    if (path.exists() or path.is_symlink()) and not has_mark(path, mark):
        raise UserError(f"{path} is there already, and this command did not write it; choose another with {option}")


def has_mark(path: Path, mark: bytes) -> bool:
    try:
        with path.open("rb") as stream:
            return mark in stream.read(MARK_WITHIN)
    except OSError:
        return False


def require_own_folder(folder: Path, mark: str, others: Collection[str] = (), option: str = "--out") -> None:
    """Raise UserError unless a folder is new, empty, or has the file `mark` that says that the command made it.

    others: names that may be in it without.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file; give a folder with {option}")
    if not folder.is_dir() or (folder / mark).exists():
        return
    names = sorted(each.name for each in folder.iterdir() if not is_temporary(each.name))
    foreign = next((name for name in names if name not in {".lock", *others}), None)
    if foreign is not None:
        raise UserError(
            f"{folder} holds files of something else ({display(foreign)}); give a new or an empty folder with {option}"
        )


def sync_folder(folder: Path) -> None:
    """Bring to disk which names a folder's files have, where the system can."""
    if os.name == "posix":
        with contextlib.suppress(OSError):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


@contextmanager
def _temporary_file(target: Path, option: str | None) -> Iterator[Temporary]:
    check_name(target)
    with ExitStack() as stack:
        try:
            temporary = stack.enter_context(temporary_file(target))
        except OSError as error:
            raise UserError(f"cannot write {target}: {error.strerror}; {elsewhere(option)}") from error
        yield temporary


def _finish(temporary: Path) -> None:
    with temporary.open("rb+") as written:
        os.fsync(written.fileno())
    temporary.chmod(0o666 & ~_umask())


def _are_free(path: Path, endings: Sequence[str]) -> bool:
    return not any(path.with_suffix(ending).exists() for ending in endings)


def elsewhere(option: str | None) -> str:
    """What to do where a file cannot be written."""
    return f"make its folder writable, or choose another place{f' with {option}' if option else ''}"


def lies_in(path: Path, place: Path) -> bool:
    """Whether a path is a file or folder, or leads into that folder."""
    whole = path.resolve()
    return any(each.exists() and each.samefile(place) for each in [whole, *whole.parents])


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


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(target: Path, text: str, option: str | None = None) -> None:
    """Write a text in UTF-8; bytes of names that are none are written out, as JSON reads them back."""
    with atomic_path(target, option) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def is_whole_archive(path: Path) -> bool:
    """Whether a file that torch wrote, a zip archive, is whole by the checksums of its parts. Raises UserError if it
    cannot be read."""
    try:
        with zipfile.ZipFile(path) as parts:
            return parts.testzip() is None
    except OSError as error:
        if error.errno in (None, errno.EIO):
            return False
        raise UserError(f"cannot read {path}: {error.strerror}; check its permissions") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, RuntimeError, struct.error):
        return False


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def locked(folder: Path, seconds: float = 0.0, option: str | None = None) -> Iterator[None]:
    """Keep other processes out of a folder, made if need be. Raises UserError if one is in, and stays for `seconds`, or
    if the folder cannot be written to. option: the one that names another."""
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=seconds)
    except Timeout as error:
        raise UserError(f"another limner is at work in {folder}; wait for it, or stop it") from error
    except OSError as error:
        if folder.is_file():
            raise UserError(f"{folder} is a file; give a folder{f' with {option}' if option else ''}") from error
        raise UserError(f"cannot write in {folder}: {error.strerror}; {elsewhere(option)}") from error
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
