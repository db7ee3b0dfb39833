"""What is being written, under a hidden name beside its target, with a lock on it that dies with its process.

A lock that is free proves that the process is dead, also where the name of another process has its number by now. Other
machines' locks are not seen on every file system, so what another machine wrote is left alone until nobody has touched
it for a day.
"""

import contextlib
import hashlib
import os
import platform
import re
import secrets
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

MOST_STEM = 40  # bytes of the target's name in that of its temporary: some file systems take 143 in all
MOST_SUFFIX = 20
UNTOUCHED = 24 * 3600.0  # seconds after which what cannot be asked is given up
SETTLED = 10.0  # seconds: on Windows the lock is let go of just before the file gets its name
SECONDS_BETWEEN = 600.0  # looks into the same folder
LOCK, MADE, BEFORE = ".lock", "made", "before"  # in a folder that is being written

_PATTERN = re.compile(r"\..*\.limner-(?P<machine>[0-9a-f]{6})-[0-9a-f]{8}(\.[^.]*)?", re.DOTALL)
_looked: dict[Path, float] = {}
_looking = threading.Lock()


class Temporary:
    """A file or folder on its way to its name."""

    def __init__(self, path: Path, held: int) -> None:
        self.path = path
        self._held: int | None = held

    def replace(self, target: Path) -> None:
        """Give it a name, in the place of whatever file has it."""
        self._let_go()
        self.path.replace(target)

    def take(self, target: Path) -> bool:
        """Give it a name, unless something has it: nobody else can come between."""
        self._let_go()
        return take_name(self.path, target)

    def _let_go(self) -> None:
        """On Windows what is open cannot be renamed."""
        if os.name == "nt":
            self.close()

    def close(self) -> None:
        if self._held is not None:
            os.close(self._held)
            self._held = None


def take_name(path: Path, target: Path) -> bool:
    """Give a finished file or folder its name, unless something has that; says which of the two. No process can come
    between."""
    if os.name == "nt":
        try:
            path.rename(target)
        except FileExistsError:
            return False
        return True
    return _take_folder_name(path, target) if path.is_dir() else _take_file_name(path, target)


def _take_file_name(path: Path, target: Path) -> bool:
    try:
        os.link(path, target)
    except FileExistsError:
        return False
    except OSError:  # of file systems without links: hold the name first, and then put the file in its place
        try:
            target.open("xb").close()
        except FileExistsError:
            return False
        path.replace(target)
        return True
    path.unlink()
    return True


def _take_folder_name(path: Path, target: Path) -> bool:
    try:
        target.mkdir()
    except FileExistsError:
        return False
    try:
        path.replace(target)  # an empty folder gives way
    except OSError:
        if any(target.iterdir()):  # somebody was quick
            return False
        raise
    return True


@contextmanager
def temporary_file(target: Path) -> Iterator[Temporary]:
    """A new, empty file beside `target`, removed at the end unless it got a name. Raises OSError if there is no place.

    What dead processes left in the folder is removed first.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    clear(target.parent)
    path, held = _held_file(lambda: target.with_name(_name(target)))
    temporary = Temporary(path, held)
    try:
        yield temporary
    finally:
        temporary.close()
        path.unlink(missing_ok=True)


@contextmanager
def temporary_folder(target: Path) -> Iterator[tuple[Temporary, Path]]:
    """The path of a new folder, which is not made yet, on the file system of `target`; and a place for what `target`
    was before. Both are removed at the end. Raises OSError."""
    target.parent.mkdir(parents=True, exist_ok=True)
    clear(target.parent)

    def make() -> Path:
        place = target.with_name(_name(target))
        place.mkdir()
        return place / LOCK

    path, held = _held_file(make)
    place, temporary = path.parent, Temporary(path.parent / MADE, held)
    before = place / BEFORE / target.name
    before.parent.mkdir()
    try:
        yield temporary, before
    except BaseException:
        _put_back(place)
        raise
    finally:
        temporary.close()
        shutil.rmtree(place, ignore_errors=True)


def clear(folder: Path, always: bool = False) -> list[tuple[Path, int]]:
    """Remove what dead processes left unfinished in a folder: their paths, and how many bytes each had.

    A process that writes there often looks once in ten minutes, but `always` if it is asked to.
    """
    now = time.monotonic()
    whole = folder.absolute()
    with _looking:
        if not always and now - _looked.get(whole, -SECONDS_BETWEEN) < SECONDS_BETWEEN:
            return []
        _looked[whole] = now
    found = []
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        found = [Path(each.path) for each in entries if _PATTERN.fullmatch(each.name) and not each.is_symlink()]
    removed = []
    for path in found:
        with contextlib.suppress(OSError):
            size = _size(path)
            if _remove_if_dead(path):
                removed.append((path, size))
    return removed


def is_temporary(name: str) -> bool:
    """Whether a file of that name is one that is being written, or was when its process died."""
    return _PATTERN.fullmatch(name) is not None


def shortened(name: str, most: int) -> str:
    """A name's beginning of at most so many bytes, without half a character at its end."""
    return os.fsencode(name)[:most].decode("utf-8", "ignore")


def _name(target: Path) -> str:
    suffix = target.suffix if len(os.fsencode(target.suffix)) <= MOST_SUFFIX else ""
    return f".{shortened(target.stem, MOST_STEM)}.limner-{_machine()}-{secrets.token_hex(4)}{suffix}"


def _machine() -> str:
    """A short sign of this machine: of its name, and of its own number where it has one."""
    number = b""
    with contextlib.suppress(OSError):
        number = Path("/etc/machine-id").read_bytes()
    return hashlib.sha256(platform.node().encode() + number).hexdigest()[:6]


def _held_file(name: Callable[[], Path]) -> tuple[Path, int]:
    """A new file, and the descriptor that holds its lock."""
    while True:
        path = name()
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        _lock(held)
        try:
            if os.path.samestat(os.fstat(held), path.stat()):
                return path, held
        except FileNotFoundError:  # somebody took it for a dead one's before it was locked
            pass
        os.close(held)


def _lock(descriptor: int) -> bool | None:
    """Whether this descriptor has the lock now; None where the file system, or the system, has none."""
    if sys.platform == "win32":
        return None
    import fcntl

    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _remove_if_dead(path: Path) -> bool:
    match = _PATTERN.fullmatch(path.name)
    is_folder = path.is_dir()
    is_foreign = match is None or match["machine"] != _machine()
    try:
        held = os.open(path / LOCK if is_folder else path, os.O_RDWR)
    except FileNotFoundError:  # a folder without its lock: hardly begun, or hardly left
        if not path.exists() or time.time() - path.stat().st_mtime < UNTOUCHED:
            return False
        shutil.rmtree(path, ignore_errors=True)
        return True
    try:
        has_it = _lock(held)
        if has_it is False:
            return False
        age = time.time() - _newest(path)
        if os.name == "nt":  # whoever writes has it open, so that it cannot be removed
            least = UNTOUCHED if is_foreign else SETTLED
        else:
            least = UNTOUCHED if is_foreign or has_it is None else 0.0
        if age < least:
            return False
        if os.name == "nt":
            os.close(held)
            held = -1
        if is_folder:
            if os.name == "nt":
                (path / LOCK).unlink()  # which fails while its process lives
            _put_back(path)
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink()
        return True
    finally:
        if held >= 0:
            os.close(held)


def _put_back(place: Path) -> None:
    """What a folder was before, if whoever wanted to replace it came no further."""
    with contextlib.suppress(OSError):
        for before in (place / BEFORE).iterdir():
            if not (place.parent / before.name).exists():
                before.replace(place.parent / before.name)


def _newest(path: Path) -> float:
    """When something of it was changed last."""
    own = path.stat().st_mtime
    return max([own, *(each.stat().st_mtime for each in path.rglob("*"))]) if path.is_dir() else own


def _size(path: Path) -> int:
    if path.is_dir():
        return sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    return path.stat().st_size
