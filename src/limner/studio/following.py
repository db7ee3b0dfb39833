"""A job that a worker has, as the server sees it through the job's feed."""

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from limner.errors import memory_advice
from limner.files import is_locked
from limner.studio.control import asked
from limner.studio.feed import EVENTS, FeedReader
from limner.studio.forms import in_words_of_forms
from limner.studio.jobs import Job, Status
from limner.studio.places import LOG
from limner.studio.progress import Progress
from limner.studio.room import NO_ROOM, is_full
from limner.studio.workers import Worker, last_words

MOST_ATTEMPTS = 5  # that a job's workers die, none of them coming further, before it is given up
ENDS: dict[str, Status] = {
    "done": "done",
    "failed": "failed",
    "paused": "paused",
    "cancelled": "cancelled",
    "yielded": "queued",
}


@dataclass
class Following:
    """worker: None for one that an earlier server started. end: the attempt's last event, once it is there.

    saved: whether the attempt came to a state from which the next goes on further. asked: what was said meanwhile.
    """

    job: Job
    worker: Worker | None
    folder: Path
    progress: Progress = field(default_factory=Progress)
    end: dict[str, Any] | None = None
    saved: bool = False
    asked: str = ""
    task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._reader = FeedReader(self.folder / EVENTS)
        # What the job's row accounts for: that of an earlier attempt's end, if there was one.
        self._since = int(self.job.progress.get("last_seq", 0))
        self.asked = asked(self.folder)

    def read(self) -> bool:
        """Take in what is new; returns whether anything was."""
        lines = self._reader.new()
        for line in lines:
            self.progress.fold(line)
            if line["seq"] > self._since:
                self.saved |= line["event"] == "Saved"
                self.end = line if line["event"] == "Ended" else None
        return bool(lines)

    def is_alive(self) -> bool:
        if self.worker is not None and self.worker.is_alive:
            return True
        found = is_locked(self.folder)
        if found and self.worker is not None:  # one that an earlier server started took it first
            self.worker = None
        return found

    def at_end(self, end: dict[str, Any]) -> dict[str, Any]:
        """What becomes of the job's row as its worker has ended it."""
        if end["status"] == "failed" and is_full(self.folder):
            return self._waits_for_room()
        return {
            "status": ENDS[end["status"]],
            "error": end["error"],
            "result": end["result"],
            "ended": None if end["status"] in ("yielded", "paused") else time.time(),
            "attempts": 0 if end["status"] == "yielded" else self.job.attempts,
        }

    def after_death(self) -> dict[str, Any]:
        """A worker is gone without a word: its job goes on in another, unless that happens again and again."""
        job = self.job
        if is_full(self.folder):
            return self._waits_for_room()
        if not job.hidden and (self.saved or job.attempts < MOST_ATTEMPTS):
            return {"status": "queued", "attempts": 0 if self.saved else job.attempts}
        said = self.worker.last_words() if self.worker is not None else last_words(self.folder / LOG)
        is_killed = self.worker is not None and self.worker.is_killed
        if is_killed:
            said += f"; {in_words_of_forms(memory_advice(job.kind, job.request.get('method', '')))}"
        times = "once" if job.attempts == 1 else f"{job.attempts} times"
        return {"status": "failed", "error": f"its worker died {times}: {said}", "ended": time.time()}

    def _waits_for_room(self) -> dict[str, Any]:
        """On a full disk everything fails, whatever it says; that attempt does not count."""
        if self.job.hidden:  # who asked is told, and asks again
            return {"status": "failed", "error": NO_ROOM, "ended": time.time()}
        return {"status": "queued", "attempts": self.job.attempts - 1}
