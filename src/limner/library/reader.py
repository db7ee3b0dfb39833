"""Model files read by a process of its own, so that this one needs no torch and outlives whatever a file does."""

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Self

from limner.errors import UserError
from limner.library.shelf import Described, Hashes

READS = 2  # goes up when more is read, so that files are read again
SECONDS_FOR_HEADER = 120.0  # the first answer waits for torch to load, on a busy machine for a minute
BYTES_A_SECOND = 2e6  # the slowest disk that hashing waits for


class Reader:
    """A worker that is started at the first question and again when it dies; it waits in between. Not for several
    threads at once, but for `stop`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._is_stopped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
            self._process = None

    def stop(self) -> None:
        """Let whoever waits for an answer, in another thread, wait no longer: there it raises UserError."""
        self._is_stopped = True
        process = self._process
        if process is not None:
            process.kill()

    def describe(self, path: Path) -> Described:
        """What a file is; a file that nobody can read has a `problem`."""
        found = self._ask("describe", path, SECONDS_FOR_HEADER)
        return Described(**found)

    def hash(self, path: Path) -> Hashes:
        """A file's hashes, read whole. Raises UserError if that cannot be done."""
        try:
            size = path.stat().st_size
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; check its name and permissions") from error
        found = self._ask("hash", path, SECONDS_FOR_HEADER + size / BYTES_A_SECOND)
        if "problem" in found:
            raise UserError(found["problem"])
        return Hashes(**found)

    def _ask(self, what: str, path: Path, seconds: float) -> dict[str, Any]:
        if self._is_stopped:
            raise UserError("the reading of files was stopped; scan again")
        process = self._process
        if process is None or process.poll() is not None:
            self.close()
            process = self._process = _start()
        assert process.stdin is not None
        assert process.stdout is not None
        clock = threading.Timer(seconds, process.kill)
        clock.start()
        try:
            process.stdin.write(json.dumps([what, str(path)]) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except (BrokenPipeError, ConnectionResetError):
            line = ""
        finally:
            clock.cancel()
        if not line.endswith("\n"):
            self.close()
            if self._is_stopped:  # it says nothing about the file
                raise UserError("the reading of files was stopped; scan again")
            return {"problem": f"{path} stopped the process that reads it; do not trust it, and look at limner inspect"}
        return json.loads(line)


def _start() -> "subprocess.Popen[str]":
    """-P: nothing in the folder where a person happens to be is imported."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "limner.library.worker"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        encoding="utf-8",
    )
