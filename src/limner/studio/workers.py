"""The processes that do jobs: started, given jobs, kept for the next one, and let go."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from limner.studio.jobs import Job
from limner.studio.kinds import LANES
from limner.studio.places import LOG, Places

SECONDS_IDLE = 300.0  # after which a waiting worker goes, and the model that it holds
SECONDS_TO_END = 5.0  # of a waiting worker
LOG_TAIL = 2000  # bytes of a dead worker's log that its last words are looked for in
# How long threads of a worker turn round and round when they wait for each other, before they leave the core to others:
# some microseconds instead of milliseconds. It costs a training alone a few percent, and saves more beside a drawing.
SPIN = {"GOMP_SPINCOUNT": "2000"}


@dataclass
class Worker:
    """A process. log: of the job that it has. said: bytes that were in it when the job was given. free_since: by
    time.monotonic, of one that waits."""

    process: asyncio.subprocess.Process
    log: Path = Path(os.devnull)
    said: int = 0
    free_since: float = 0.0

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    @property
    def is_killed(self) -> bool:
        """As by a system that is out of memory."""
        return self.process.returncode == -getattr(signal, "SIGKILL", 9)

    async def give(self, job: Job, log: Path, stays: bool) -> None:
        """Let it do a job. log: what it prints into meanwhile. stays: whether there can be another job after it."""
        order = {"job": job.id, "kind": job.kind, "request": job.request, "attempt": job.attempts}
        self.log, self.said = log, _size(log)
        assert self.process.stdin is not None
        with contextlib.suppress(ConnectionError):  # it died: whoever follows it will see
            self.process.stdin.write(json.dumps(order).encode() + b"\n")
            await self.process.stdin.drain()
            if not stays:
                self.process.stdin.close()

    def interrupt(self) -> None:
        """Let it save what it has, in the midst of whatever it does."""
        if self.is_alive and os.name == "posix":
            with contextlib.suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        if self.is_alive:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()

    async def end(self) -> None:
        """Let it go, as it waits."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            await asyncio.wait_for(self.process.wait(), SECONDS_TO_END)
        except TimeoutError:
            self.process.kill()

    def last_words(self) -> str:
        """What a dead worker left: how it ended, or the last line that it printed."""
        if self.is_killed:
            return "something killed it; most likely the machine ran out of memory"
        return last_words(self.log, self.said)


class Workers:
    """Those that wait for a job of their lane, and new ones."""

    def __init__(self, places: Places, seconds_idle: float = SECONDS_IDLE) -> None:
        self.places, self.seconds_idle = places, seconds_idle
        self._free: dict[str, list[Worker]] = {lane: [] for lane in LANES}

    async def take(self, job: Job) -> Worker:
        """A worker for a job. Raises OSError if no process can be started."""
        waiting = self._free[job.lane] = [worker for worker in self._free[job.lane] if worker.is_alive]
        return waiting.pop() if waiting else await self._spawn(job)

    def leave(self, worker: Worker, lane: str) -> None:
        """Its job is done; let it wait for another one if its lane is such."""
        if LANES[lane].keeps and worker.is_alive:
            worker.free_since = time.monotonic()
            self._free[lane].append(worker)

    async def end_idle(self) -> float | None:
        """Let those go that have waited too long; returns the seconds until the next one has, None if none waits."""
        left: list[float] = []
        for lane, waiting in self._free.items():
            still = {id(each): self.seconds_idle - (time.monotonic() - each.free_since) for each in waiting}
            self._free[lane] = [each for each in waiting if still[id(each)] > 0]
            left += [seconds for seconds in still.values() if seconds > 0]
            for each in waiting:
                if still[id(each)] <= 0:
                    await each.end()
        return min(left, default=None)

    async def close(self) -> None:
        for waiting in self._free.values():
            for worker in waiting:
                await worker.end()

    async def _spawn(self, job: Job) -> Worker:
        """-P: nothing in the folder where a person happens to be is imported. Ctrl-C at the terminal is kept away."""
        log = self.places.job(job.id) / LOG
        log.parent.mkdir(parents=True, exist_ok=True)
        apart: dict[str, Any] = {"start_new_session": True}
        if os.name == "nt":
            apart = {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
        root, models = self.places.root.absolute(), self.places.models.absolute()
        command = [sys.executable, "-P", "-m", "limner.studio.worker", str(root), str(models), job.lane]
        with log.open("ab") as stream:
            process = await asyncio.create_subprocess_exec(
                *command, stdin=asyncio.subprocess.PIPE, stdout=stream, stderr=stream, env=SPIN | os.environ, **apart
            )
        return Worker(process)


def last_words(log: Path, said: int = 0) -> str:
    """The last line that a dead worker printed, behind the first bytes of its log."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(said, _size(log) - LOG_TAIL))
            lines = stream.read().decode(errors="replace").splitlines()
        return f"the last that it said: {next(line.strip() for line in reversed(lines) if line.strip())}"
    except (OSError, StopIteration):
        return "it said nothing; most likely the machine ran out of memory"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
