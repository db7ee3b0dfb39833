"""The shelf as the server sees it: the library's index, kept in step with the models folder."""

import asyncio
import os
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

from limner.config import KIND_FOLDERS
from limner.errors import UserError
from limner.library.reader import Reader
from limner.library.scan import PassedOver, Reading, Scanned, scan, shelf_root
from limner.library.store import Store
from limner.studio.changes import Changes

SECONDS_BETWEEN_LOOKS = 2.0  # at the folders, at most so often
SECONDS_OF_QUIET = 3.0  # after which the folders are looked at though no job told of anything
SECONDS_WATCHED = 30.0  # that a page counts as looking after it asked
SECONDS_READER_STAYS = 60.0  # after a scan: more files may come, and torch takes seconds to load
SECONDS_BETWEEN_SCANS = 60.0  # while a page looks: a file that changes in its place shows in no folder


@dataclass
class Scanning:
    """How far the index is. version: another one when rows may have changed. done, total: headers that are read.
    left_out: what lies there and is not in the index, by reason. problem: why there is no index."""

    version: int = 0
    is_busy: bool = False
    done: int = 0
    total: int = 0
    left_out: list[dict[str, str]] = field(default_factory=list)
    problem: str = ""


class Shelf:
    """The models folder's index. Scans run in a thread, and files are read in a process of their own that ends
    when nothing new came for a while; questions may come from any thread, each by a connection of its own."""

    def __init__(self, models: Path) -> None:
        self.models = models
        self.now = Scanning()
        self._folders: dict[Path, int] = {}
        self._scanned = self._watched = -SECONDS_BETWEEN_SCANS
        self._running: asyncio.Task[None] | None = None
        self._reader = Reader()

    @property
    def root(self) -> Path:
        """Raises UserError if the folder is gone."""
        return shelf_root(self.models)

    def store(self) -> Store:
        """The index, to be closed by the thread that asks. Raises UserError."""
        return Store()

    def watched(self) -> None:
        """A page looks: changes should show soon."""
        self._watched = time.monotonic()

    def scan(self) -> "asyncio.Task[None]":
        """Bring the index up to date; the task that does it may be waited for."""
        if self._running is None or self._running.done():
            self.now.is_busy = True
            self._running = asyncio.create_task(asyncio.to_thread(self._scan))
        return self._running

    async def follow(self, changes: Changes) -> None:
        """Scan now, and whenever the folder changed: after jobs told of something, and every so often."""
        await self.scan()
        while True:
            await changes.after(changes.count, SECONDS_OF_QUIET)
            now = time.monotonic()
            is_watched = now - self._watched < SECONDS_WATCHED
            if self._has_changed() or (is_watched and now - self._scanned > SECONDS_BETWEEN_SCANS):
                await self.scan()
            elif now - self._scanned > SECONDS_READER_STAYS and not self.now.is_busy:
                self._reader.close()
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS)

    async def close(self) -> None:
        """What was read so far is kept."""
        self._reader.stop()
        if self._running is not None:
            await asyncio.wait([self._running])
        self._reader.close()

    def _has_changed(self) -> bool:
        return any(_mtime(folder) != known for folder, known in self._folders.items())

    def _scan(self) -> None:
        before, self._folders = self._folders, _folders(self.models)
        left_out: list[dict[str, str]] = []
        is_new = before != self._folders
        try:
            root = self.root
            with self.store() as store, closing(scan(store, root, self._reader)) as events:
                for event in events:
                    if isinstance(event, Reading):
                        self.now.done, self.now.total = event.done, event.total
                    elif isinstance(event, PassedOver):
                        left_out.append({"name": event.name, "reason": event.reason})
                    elif isinstance(event, Scanned):
                        is_new = is_new or event.read > 0 or event.removed > 0
            self.now.problem = ""
        except UserError as error:
            self.now.problem = str(error)
        except sqlite3.Error as error:
            self.now.problem = f"the index cannot be written ({error}); see whether the disk is full"
        finally:
            self.now.version += is_new
            self.now.left_out, self.now.is_busy, self.now.done, self.now.total = left_out, False, 0, 0
            self._scanned = time.monotonic()


def _folders(models: Path) -> dict[Path, int]:
    """When each folder last got or lost a file, in nanoseconds; 0 of one that is not there yet."""
    tops = [models / name for name in KIND_FOLDERS.values()]
    below = [Path(at) / name for top in tops for at, folders, _ in os.walk(top) for name in folders]
    return {folder: _mtime(folder) for folder in (*tops, *below)}


def _mtime(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
