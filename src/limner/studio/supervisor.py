"""Gives jobs to workers, follows them, and goes on after whatever happens to a worker or to the server itself."""

import asyncio
import contextlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from filelock import FileLock, Timeout

from limner.errors import UserError
from limner.studio.changes import Changes
from limner.studio.control import CANCEL, FINISH, PAUSE, SKIP, YIELD, ask, unask
from limner.studio.feed import EVENTS, FeedReader
from limner.studio.jobs import Busy, Job, Jobs, Status
from limner.studio.kinds import LANES, Lane, find_kind
from limner.studio.places import Places
from limner.studio.progress import Progress

SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_BETWEEN_ROWS = 2.0  # in which a job's progress is written to the database
SECONDS_TO_CLOSE = 30.0  # that workers have to save their state when the server closes
MOST_ATTEMPTS = 5  # that a job's workers die before it is given up
MOST_WAITING = 500  # jobs of a lane
LOG_TAIL = 2000  # bytes of a dead worker's log that its job's error is looked for in

ENDS: dict[str, Status] = {
    "done": "done",
    "failed": "failed",
    "paused": "paused",
    "cancelled": "cancelled",
    "yielded": "queued",
}


@dataclass
class Worker:
    """A process, and the log that it prints into."""

    process: asyncio.subprocess.Process
    log: Path

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None


@dataclass
class Following:
    """A job that a worker has: one of this server's, or one that an earlier server started (worker is None)."""

    job: Job
    worker: Worker | None
    progress: Progress = field(default_factory=Progress)
    task: asyncio.Task[None] | None = None


class Supervisor:
    """The only one that changes the status of jobs. Lives in the server's event loop."""

    def __init__(self, places: Places, jobs: Jobs) -> None:
        self.places, self.jobs = places, jobs
        self.changes = Changes()
        self._followed: dict[int, Following] = {}
        self._free: dict[str, list[Worker]] = {lane: [] for lane in LANES}
        self._wake = asyncio.Event()
        self._is_closing = False
        self._runner: asyncio.Task[None] | None = None

    # From and to the server

    async def open(self) -> None:
        """Take up what an earlier server left, and begin."""
        for job in self.jobs.find(["running"], hidden=None):
            if job.hidden:
                self._forget(job)  # whoever asked has gone
            elif _is_locked(self.places.job(job.id)):
                self._follow(Following(job, None))
            else:
                self._died(job, self.places.job(job.id) / "log.txt")
        for job in self.jobs.find(["queued"], hidden=True):
            self._forget(job)
        self._runner = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ask every worker to save its state, and wait for it; what was being done goes on with the next server."""
        self._is_closing = True
        self._wake.set()
        for number in list(self._followed):
            ask(self.places.job(number), YIELD)
        tasks = [each.task for each in self._followed.values() if each.task is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=SECONDS_TO_CLOSE)
        for each in self._followed.values():
            if each.task is not None:
                each.task.cancel()
            if each.worker is not None and each.worker.is_alive:
                each.worker.process.terminate()
        for worker in (worker for workers in self._free.values() for worker in workers):
            await _end(worker)
        if self._runner is not None:
            await self._runner

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
        """A job with its latest progress. Raises UserError."""
        job = self.jobs.get(number)
        following = self._followed.get(number)
        return job if following is None else _with(job, progress=following.progress.to_dict())

    def all(self, limit: int = 1000) -> list[Job]:
        """The jobs that people see, as in Jobs.find, with their latest progress."""
        found = self.jobs.find(limit=limit)
        following = self._followed
        return [
            _with(job, progress=following[job.id].progress.to_dict()) if job.id in following else job for job in found
        ]

    def ask(self, number: int, word: str) -> Job:
        """Pause, cancel, finish or skip a job. Raises UserError if it is not one that can be."""
        job = self.jobs.get(number)
        if job.status == "running":
            ask(self.places.job(number), word)
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
        self._wake.set()
        self.changes.tell()

    async def _run(self) -> None:
        while not self._is_closing:
            self._wake.clear()
            for name, lane in LANES.items():
                while self._busy(name) < lane.slots and (job := self.jobs.next(name)) is not None:
                    await self._start(job, name, lane)
            await self._wake.wait()

    def _busy(self, lane: str) -> int:
        return sum(each.job.lane == lane for each in self._followed.values())

    async def _start(self, job: Job, name: str, lane: Lane) -> None:
        """Give a job to a worker of its lane."""
        attempt = job.attempts + 1
        job = self.jobs.update(
            job.id, status="running", attempts=attempt, started=job.started or time.time(), ended=None
        )
        worker = await self._worker(name, lane, job)
        order = {"job": job.id, "kind": job.kind, "request": job.request, "attempt": attempt}
        assert worker.process.stdin is not None
        worker.process.stdin.write(json.dumps(order).encode() + b"\n")
        with contextlib.suppress(ConnectionError):  # it died: whoever follows it will see
            await worker.process.stdin.drain()
        if not lane.keeps:
            worker.process.stdin.close()
        self._follow(Following(job, worker))

    async def _worker(self, name: str, lane: Lane, job: Job) -> Worker:
        waiting = [worker for worker in self._free[name] if worker.is_alive]
        self._free[name] = waiting
        if waiting:
            return waiting.pop()
        folder = self.places.logs if lane.keeps else self.places.job(job.id)
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / (f"{name}.txt" if lane.keeps else "log.txt")
        with log.open("ab") as stream:
            return Worker(await _spawn(self.places, lane, stream), log)

    def _follow(self, following: Following) -> None:
        self._followed[following.job.id] = following
        following.task = asyncio.create_task(self._follow_to_end(following))
        self.changes.tell()

    async def _follow_to_end(self, following: Following) -> None:
        """Read a job's feed until it ends, or its worker does."""
        job, worker = following.job, following.worker
        reader = FeedReader(self.places.job(job.id) / EVENTS)
        written = time.monotonic()
        for line in reader.new():  # of earlier attempts
            following.progress.fold(line)
        seen = following.progress.last_seq
        end: dict[str, Any] | None = None
        while end is None:
            is_alive = worker.is_alive if worker is not None else _is_locked(self.places.job(job.id))
            lines = reader.new()
            for line in lines:
                following.progress.fold(line)
                if line["event"] == "Ended" and line["seq"] > seen:
                    end = line
            if lines:
                self.changes.tell()
            elif not is_alive:
                break
            if time.monotonic() - written > SECONDS_BETWEEN_ROWS:
                self.jobs.update(job.id, progress=following.progress.to_dict())
                written = time.monotonic()
            if end is None:
                await asyncio.sleep(SECONDS_BETWEEN_LOOKS)
        del self._followed[job.id]
        self._close(following, end)

    def _close(self, following: Following, end: dict[str, Any] | None) -> None:
        job, worker = following.job, following.worker
        self.jobs.update(job.id, progress=following.progress.to_dict())
        if worker is not None and worker.is_alive and LANES[job.lane].keeps:
            self._free[job.lane].append(worker)
        if end is None:
            self._died(job, self.places.job(job.id) / "log.txt" if worker is None else worker.log)
        else:
            unask(self.places.job(job.id))
            values: dict[str, Any] = {"status": ENDS[end["status"]], "error": end["error"], "result": end["result"]}
            ended = None if end["status"] in ("yielded", "paused") else time.time()
            attempts = 0 if end["status"] == "yielded" else job.attempts
            self.jobs.update(job.id, ended=ended, attempts=attempts, **values)
        self._changed()

    def _died(self, job: Job, log: Path) -> None:
        """A worker is gone without a word: its job goes on in another, unless that happens again and again."""
        if job.hidden or job.attempts >= MOST_ATTEMPTS:
            error = f"its worker died {job.attempts} times; {_last_words(log)}"
            self.jobs.update(job.id, status="failed", error=error, ended=time.time())
        else:
            self.jobs.update(job.id, status="queued")

    def _forget(self, job: Job) -> None:
        self.jobs.remove(job.id)
        shutil.rmtree(self.places.job(job.id), ignore_errors=True)


def _with(job: Job, **values: Any) -> Job:
    return Job(**{**{name: getattr(job, name) for name in Job.__dataclass_fields__}, **values})


async def _spawn(places: Places, lane: Lane, log: IO[bytes]) -> asyncio.subprocess.Process:
    """-P: nothing in the folder where a person happens to be is imported. A session of its own keeps Ctrl-C away."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-P",
        "-m",
        "limner.studio.worker",
        str(places.root.absolute()),
        str(places.models.absolute()),
        str(lane.niceness),
        stdin=asyncio.subprocess.PIPE,
        stdout=log,
        stderr=log,
        start_new_session=True,
    )


async def _end(worker: Worker) -> None:
    """Let a waiting worker go."""
    assert worker.process.stdin is not None
    worker.process.stdin.close()
    try:
        await asyncio.wait_for(worker.process.wait(), 5)
    except TimeoutError:
        worker.process.kill()


def _is_locked(folder: Path) -> bool:
    """Whether a worker is at work in a job's folder."""
    if not folder.is_dir():
        return False
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(blocking=False)
    except Timeout:
        return True
    lock.release()
    return False


def _last_words(log: Path) -> str:
    """The last line that a dead worker printed."""
    try:
        lines: Iterator[str] = reversed(log.read_bytes()[-LOG_TAIL:].decode(errors="replace").splitlines())
        return f"the last that it said: {next(line for line in lines if line.strip())}"
    except (OSError, StopIteration):
        return "it said nothing; most likely the machine ran out of memory"


__all__ = ["CANCEL", "FINISH", "PAUSE", "SKIP", "Supervisor"]
