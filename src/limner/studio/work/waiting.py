"""One at a time in a set of pictures: a check, or what prepares it."""

import time
from collections.abc import Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

from limner.events import Event, Prepared

SECONDS = 0.2  # between two looks whether the other is done


def alone(folder: Path) -> Generator[Event, None, AbstractContextManager[None]]:
    """Waits until nobody else is at work in a set's folder; the block that is returned keeps others out."""
    lock = FileLock(folder / ".at-work")
    while True:
        try:
            lock.acquire(blocking=False)
            break
        except Timeout:
            yield Prepared(0, 0, "waiting for the look at the pictures")
            time.sleep(SECONDS)
    return _held(lock)


@contextmanager
def _held(lock: BaseFileLock) -> Iterator[None]:
    try:
        yield
    finally:
        lock.release()
