"""What a worker tells: a line of JSON for each event in its job's folder, readable by whoever comes, whenever.

A line is {"seq": its number from 1, "time": seconds since 1970, "event": the event's class, and its fields}. Paths are
written as they are; they never leave the server, which gives them out as "the file of event 12".
"""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

EVENTS = "events.jsonl"

End = Literal["done", "failed", "paused", "cancelled", "yielded"]


@dataclass(frozen=True)
class Began:
    """A worker took the job up, for the first time or again."""

    attempt: int


@dataclass(frozen=True)
class Sampled:
    """So many sampling steps of the picture that is being drawn are done; done, total: of the job's pictures."""

    step: int
    steps: int
    done: int
    total: int


@dataclass(frozen=True)
class Drawn:
    """A picture is finished, in a file. picture: its number in the gallery, if it is there."""

    path: Path
    seed: int
    infotext: str
    picture: int | None = None


@dataclass(frozen=True)
class Ended:
    """The last line of an attempt. error: a sentence if it failed. result: plain values of what came of it.

    yielded: the server closes, and the job goes on when it comes back.
    """

    status: End
    error: str = ""
    result: dict[str, Any] | None = None


class FeedWriter:
    """Appends events; goes on counting where an earlier attempt stopped, behind whatever it left half-written."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / EVENTS
        lines = list(read_feed(path))
        self.seq = lines[-1]["seq"] if lines else 0
        is_cut = path.exists() and not path.read_bytes().endswith(b"\n") and path.stat().st_size > 0
        self._stream = path.open("a", encoding="utf-8")
        if is_cut:
            self._stream.write("\n")

    def write(self, event: Any) -> None:
        self.seq += 1
        line = {"seq": self.seq, "time": round(time.time(), 3), "event": type(event).__name__} | asdict(event)
        self._stream.write(json.dumps(line, default=str, ensure_ascii=False) + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()


class FeedReader:
    """Reads on from where it was: each call gives the lines that came since, whole ones only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0

    def new(self) -> list[dict[str, Any]]:
        try:
            with self.path.open("rb") as stream:
                stream.seek(self._at)
                data = stream.read()
        except FileNotFoundError:
            return []
        whole = data[: data.rfind(b"\n") + 1]
        self._at += len(whole)
        return list(_parsed(whole))


def read_feed(path: Path) -> Iterator[dict[str, Any]]:
    """All events of a job so far."""
    yield from FeedReader(path).new()


def _parsed(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.splitlines():
        try:
            yield json.loads(line)
        except ValueError:  # what a worker left that died while it wrote
            continue
