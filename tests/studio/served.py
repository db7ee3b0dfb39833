"""A real studio in a process of its own, on a free port, with a tiny random base on its shelf."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2

BASE = "Stable-diffusion/tiny.safetensors"
SECONDS_TO_START = 60
PATIENCE = 300  # seconds that a wait may take where the machine is slow and busy: a worker alone starts in ten then
ENDED = ("done", "failed", "cancelled")


class Served:
    """A server that can be killed and started again on the same folder. Ask it with get, post and client."""

    def __init__(self, folder: Path, models: Path, **environment: str) -> None:
        self.folder, self.models = folder, models
        self.environment = environment
        self.process: subprocess.Popen[str] | None = None
        self.log = folder.parent / f"{folder.name}.log"
        self.start()

    def start(self, *options: str) -> None:
        own = {"LIMNER_STUDIO": str(self.folder), "LIMNER_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-P", "-m", "limner", "studio", "--port", "0", "--no-browser"]
        command += ["--models", str(self.models), *options]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | own | self.environment
            )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://\S+/", line)
        assert found, f"{line}{self.log.read_text()}"
        self.address = found[0].rstrip("/")
        self.client = httpx2.Client(base_url=self.address, timeout=120)
        wait(lambda: self._answers(), SECONDS_TO_START)

    def _answers(self) -> bool:
        try:
            return self.client.get("/api/jobs").status_code in (200, 401)
        except httpx2.HTTPError:
            return False

    def kill(self) -> None:
        """Without a word, as when the power fails; its workers live on."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As a person does, by Ctrl-C."""
        assert self.process is not None
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=60)

    def get(self, path: str) -> Any:
        answer = self.client.get(path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def post(self, path: str, body: Any = None) -> Any:
        answer = self.client.post(path, json={} if body is None else body)
        assert answer.status_code in (200, 201), answer.text
        return answer.json()

    def give(self, kind: str, **request: Any) -> int:
        """The number of a new job."""
        return self.post("/api/jobs", {"kind": kind, "request": request})["id"]

    def job(self, number: int) -> dict[str, Any]:
        return self.get(f"/api/jobs/{number}")

    def until(self, number: int, *statuses: str, seconds: float = PATIENCE) -> dict[str, Any]:
        """Wait until a job has one of these statuses; one that has ended otherwise never will."""

        def has() -> bool:
            job = self.job(number)
            assert job["status"] in statuses or job["status"] not in ENDED, job
            return job["status"] in statuses

        wait(has, seconds, lambda: self.job(number))
        return self.job(number)


def wait(is_so: Callable[[], bool], seconds: float = PATIENCE, about: Callable[[], Any] = lambda: "") -> None:
    """Wait until something is so; it must be in time, else the test fails with what `about` says."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, about()
        time.sleep(0.05)


def workers_of(studio: Served) -> list[int]:
    """Process numbers of the workers of a studio, the server's own included or left behind."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"limner.studio.worker" in words and str(studio.folder).encode() in words:
            found.append(int(path.parent.name))
    return found


def kill_workers(studio: Served) -> None:
    for pid in workers_of(studio):
        os.kill(pid, signal.SIGKILL)
    wait(lambda: not workers_of(studio))


def events_of(studio: Served, number: int) -> list[dict[str, Any]]:
    path = studio.folder / "jobs" / str(number) / "events.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{") and line.endswith("}")]


def names_of(studio: Served, number: int) -> list[str]:
    return [line["event"] for line in events_of(studio, number)]
