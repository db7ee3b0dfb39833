"""Gives jobs to workers, follows them, and goes on after whatever happens to a worker or to the server itself."""

import asyncio
import contextlib
import logging
import shutil
import sqlite3
import time
from dataclasses import replace
from typing import Any

from limner.errors import FULL, UserError
from limner.studio.changes import Changes
from limner.studio.control import CANCEL, FINISH, PAUSE, SKIP, YIELD, ask, unask
from limner.studio.following import Following
from limner.studio.jobs import Busy, Job, Jobs
from limner.studio.kinds import LANES, find_kind
from limner.studio.names import without_places
from limner.studio.places import LOG, Places
from limner.studio.room import NO_ROOM, is_full
from limner.studio.workers import SECONDS_IDLE, Workers

SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_BETWEEN_LOCKS = 0.5  # looks whether a worker is alive that an earlier server started
SECONDS_BETWEEN_ROWS = 2.0  # in which a job's progress is written to the database
SECONDS_TO_YIELD = 10.0  # until a worker's next event when the server closes; then it is interrupted
SECONDS_TO_SAVE = 20.0  # that it has after that
SECONDS_AFTER_FAULT = 1.0
SECONDS_BETWEEN_ROOMS = 2.0  # looks whether there is room on the disk again
MOST_WAITING = 500  # jobs of a lane

logger = logging.getLogger(__name__)


class Supervisor:
    """The only one that changes the status of jobs. Lives in the server's event loop."""

    def __init__(self, places: Places, jobs: Jobs, seconds_idle: float = SECONDS_IDLE) -> None:
        self.places, self.jobs = places, jobs
        self.changes = Changes()
        self.workers = Workers(places, seconds_idle)
        self._followed: dict[int, Following] = {}
        self._wake = asyncio.Event()
        self._is_closing = False
        self._runner: asyncio.Task[None] | None = None

    # From and to the server

    async def open(self) -> None:
        """Take up what an earlier server left, and begin. What ended while there was none is found in its feed."""
        for job in self.jobs.find(["running"], hidden=None):
            if job.hidden:
                ask(self.places.job(job.id), CANCEL)  # whoever asked has gone
            self._follow(Following(job, None, self.places.job(job.id)))
        for job in self.jobs.find(["queued"], hidden=True):
            self._forget(job)
        self._runner = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ask every worker to save its state, and wait for it; what was being done goes on with the next server."""
        self._is_closing = True
        self._wake.set()
        if self._runner is not None:
            await self._runner
        for number, each in list(self._followed.items()):
            if each.asked not in (PAUSE, CANCEL):  # which stop it too
                with contextlib.suppress(UserError):
                    ask(self.places.job(number), YIELD)
        await self._await_all(SECONDS_TO_YIELD)
        for each in self._followed.values():
            if each.worker is not None:
                each.worker.interrupt()
        await self._await_all(SECONDS_TO_SAVE)
        for each in self._followed.values():
            if each.task is not None:
                each.task.cancel()
            if each.worker is not None:
                each.worker.terminate()
        await self.workers.close()

    async def _await_all(self, seconds: float) -> None:
        tasks = [each.task for each in self._followed.values() if each.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=seconds)

    def give(self, kind: str, request: dict[str, Any], title: str, hidden: bool = False) -> Job:
        """Put a job at the end of its queue. Raises UserError if the request is not one of its kind, Busy."""
        found = find_kind(kind)
        if self.jobs.waiting(found.lane) >= MOST_WAITING:
            raise Busy(f"{MOST_WAITING} jobs wait already; let some of them be done, or cancel them")
        plain = found.request.read(request, kind).model_dump(mode="json", by_alias=True)
        job = self.jobs.add(kind, found.lane, title, plain, hidden)
        self._changed()
        return job

    def job(self, number: int) -> Job:
        """A job with its latest progress, and why it does not come further. Raises UserError."""
        return self._latest(self.jobs.get(number))

    def all(self, limit: int = 1000) -> list[Job]:
        """The jobs that people see, as in Jobs.find, with their latest progress."""
        return [self._latest(job) for job in self.jobs.find(limit=limit)]

    def running(self) -> list[Job]:
        """Those of them that workers have, without asking the database."""
        return [self._latest(each.job) for each in list(self._followed.values()) if not each.job.hidden]

    def at_work(self, lane: str) -> list[Job]:
        """Those of a lane that workers have, the hidden ones too."""
        return [self._latest(each.job) for each in list(self._followed.values()) if each.job.lane == lane]

    def _latest(self, job: Job) -> Job:
        if job.status in ("queued", "running") and is_full(self.places.root):
            job = replace(job, error=NO_ROOM)
        following = self._followed.get(job.id)
        if following is None or job.status != "running":
            return job
        return replace(job, progress=following.progress.to_dict() | {"asked": following.asked})

    def ask(self, number: int, word: str) -> Job:
        """Pause, cancel, finish or skip a job. Raises UserError if it is not one that can be."""
        job = self.jobs.get(number)
        if job.status == "running":
            ask(self.places.job(number), word)
            if number in self._followed:
                self._followed[number].asked = word
        elif job.status in ("queued", "paused") and word == CANCEL:
            job = self.jobs.update(number, status="cancelled", ended=time.time())
        elif job.status == "queued" and word == PAUSE:
            job = self.jobs.update(number, status="paused")
        elif job.status == "paused" and word == FINISH:
            ask(self.places.job(number), FINISH)
            job = self.jobs.update(number, status="queued", attempts=0)
        else:
            raise UserError(f"job {number} is {job.status}, so there is nothing to {word}")
        self._changed()
        return job

    def resume(self, number: int) -> Job:
        """Let a paused, failed or cancelled job go on from its last state. Raises UserError."""
        job = self.jobs.get(number)
        if job.status not in ("paused", "failed", "cancelled"):
            raise UserError(f"job {number} is {job.status}; only a paused, failed or cancelled one can go on")
        unask(self.places.job(number))
        job = self.jobs.update(number, status="queued", attempts=0, error="", ended=None)
        self._changed()
        return job

    def first(self, number: int) -> Job:
        """Let a queued job be the next of its lane. Raises UserError."""
        job = self.jobs.get(number)
        if job.status != "queued":
            raise UserError(f"job {number} is {job.status}; only a queued one can go first")
        ahead = self.jobs.next(job.lane)
        job = self.jobs.update(number, position=(ahead or job).position - 1)
        self._changed()
        return job

    def remove(self, number: int) -> None:
        """Forget an ended job and remove its folder; files that it put on the shelf stay. Raises UserError."""
        job = self.jobs.get(number)
        if job.status in ("running", "queued"):
            raise UserError(f"job {number} is {job.status}; cancel it first")
        self._forget(job)
        self._changed()

    async def ended(self, number: int) -> Job:
        """Wait for a job's end. Raises UserError if it is removed meanwhile."""
        while (job := self.jobs.get(number)).status in ("queued", "running"):
            await self.changes.after(self.changes.count, 1.0)
        return job

    # Inside

    def _changed(self) -> None:
        self.changes.tell()
        self._wake.set()

    async def _run(self) -> None:
        """Give jobs to workers whenever there are both."""
        while not self._is_closing:
            self._wake.clear()
            try:
                for name, lane in LANES.items() if not is_full(self.places.root) else ():
                    while self._busy(name) < lane.slots and not self._is_closing and (job := self.jobs.next(name)):
                        await self._start(job)
                seconds = await self.workers.end_idle()
                if is_full(self.places.root):
                    seconds = SECONDS_BETWEEN_ROOMS
                    self.changes.tell()
            except Exception:  # a full disk, as far as it can be foreseen: jobs wait, but not for ever
                logger.exception("the queue stopped, and goes on in a moment")
                seconds = SECONDS_AFTER_FAULT
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), seconds)

    def _busy(self, lane: str) -> int:
        return sum(each.job.lane == lane for each in self._followed.values())

    async def _start(self, job: Job) -> None:
        """Give a job to a worker of its lane."""
        folder = self.places.job(job.id)
        unask(folder, YIELD)  # of a server that did not see it followed
        now = time.time()
        job = self.jobs.update(
            job.id, status="running", attempts=job.attempts + 1, started=job.started or now, ended=None
        )
        try:
            worker = await self.workers.take(job)
        except OSError as error:
            problem = f"no process can be started ({error.strerror}); close other programs, and let it go on"
            ended = {"status": "failed", "error": problem, "ended": now}
            await self._write(job, {"status": "queued"} if error.errno in FULL else ended)
            self._changed()
            return
        await worker.give(job, folder / LOG, LANES[job.lane].keeps)
        self._follow(Following(job, worker, folder))

    def _follow(self, following: Following) -> None:
        self._followed[following.job.id] = following
        following.task = asyncio.create_task(self._follow_to_end(following))
        self.changes.tell()

    async def _follow_to_end(self, following: Following) -> None:
        try:
            end = await self._read_to_end(following)
        except Exception as fault:
            logger.exception("job %d can no longer be followed", following.job.id)
            ask(self.places.job(following.job.id), CANCEL)
            error = f"a fault of Limner's ({type(fault).__name__}: {fault}); the server's log tells more"
            end = {"status": "failed", "error": error, "result": None}
        await self._close(following, end)

    async def _read_to_end(self, following: Following) -> dict[str, Any] | None:
        """Read a job's feed until it ends, or its worker does without a word."""
        written = time.monotonic()
        while True:
            is_alive = following.is_alive()  # asked first, so that its last words are read
            if following.read():
                self.changes.tell()
            elif not is_alive:
                return None
            if following.end is not None:
                return following.end
            if time.monotonic() - written > SECONDS_BETWEEN_ROWS:
                written = time.monotonic()
                with contextlib.suppress(sqlite3.Error):  # on a full disk the row is behind for a while
                    self.jobs.note_progress(following.job.id, following.progress.to_dict())
            await asyncio.sleep(SECONDS_BETWEEN_LOOKS if following.worker else SECONDS_BETWEEN_LOCKS)

    async def _close(self, following: Following, end: dict[str, Any] | None) -> None:
        """Write what became of a job, and let its worker take the next one."""
        job, worker = following.job, following.worker
        values: dict[str, Any] = {"progress": following.progress.to_dict()}
        if end is None:
            values |= following.after_death()
        else:
            # to finish holds for the next attempt too; to skip was said of a picture that is begun anew
            unask(self.places.job(job.id), *((YIELD, SKIP) if end["status"] == "yielded" else ()))
            values |= following.at_end(end)
        if "error" in values:  # a dead worker's last words may name any place
            values["error"] = without_places(values["error"], self.places)
        await self._write(job, values)
        del self._followed[job.id]
        if worker is not None:
            self.workers.leave(worker, job.lane)
        elif job.hidden:
            self._forget(job)
        self._changed()

    async def _write(self, job: Job, values: dict[str, Any]) -> None:
        """Change a job's row as soon as it can be."""
        while True:
            try:
                self.jobs.update(job.id, **values)
                return
            except UserError:  # it is no more
                return
            except sqlite3.Error:
                logger.exception("the queue cannot be written; once more in a moment")
                await asyncio.sleep(SECONDS_AFTER_FAULT)

    def _forget(self, job: Job) -> None:
        self.jobs.remove(job.id)
        shutil.rmtree(self.places.job(job.id), ignore_errors=True)


__all__ = ["CANCEL", "FINISH", "PAUSE", "SKIP", "Supervisor"]
