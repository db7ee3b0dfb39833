"""What a worker tells: a line of JSON for each event in its job's folder, readable by whoever comes, whenever.

A line is {"seq": its number from 1, "time": seconds since 1970, "event": the event's class, and its fields}. Paths are
written as they are; they never leave the server, which gives them out as "the file of event 12". Steps come faster than
anybody reads: of them so many a second are written, with the mean loss of those between; a run's own log has each.
"""

import json
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from limner.events import Step

EVENTS = "events.jsonl"
PREVIEW = "preview.png"  # beside it, while something is drawn: what it is so far
SECONDS_BETWEEN_STEPS = 0.5  # that are written
MOST_AT_ONCE = 1 << 20  # bytes that a reader takes in a go

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
class Milestone:
    """A picture by which a training judged itself after a step. number: of those of that step, from 1."""

    step: int
    number: int
    path: Path


@dataclass(frozen=True)
class Compared:
    """What one state drew of a prompt when methods were compared. state: a method's label, "base" before all of them.
    All states drew it from the same noise."""

    state: str
    prompt: str
    path: Path


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
        self.seq = max((line["seq"] for line in read_feed(path)), default=0)
        self._stream = path.open("ab")
        if _is_cut(path):
            self._stream.write(b"\n")
        self._held: list[Step] = []
        self._stepped = -math.inf

    def write(self, event: Any) -> None:
        """Raises OSError, as when the disk is full."""
        if isinstance(event, Step):
            self._held.append(event)
            if time.monotonic() - self._stepped < SECONDS_BETWEEN_STEPS:
                return
        self._write_steps()
        if not isinstance(event, Step):
            self._write(event)

    def _write_steps(self) -> None:
        """Those that were held back, as one."""
        if self._held:
            losses = [step.loss for step in self._held]
            self._write(replace(self._held[-1], loss=sum(losses) / len(losses)))
            self._held.clear()
            self._stepped = time.monotonic()

    def _write(self, event: Any) -> None:
        self.seq += 1
        line = {"seq": self.seq, "time": round(time.time(), 3), "event": type(event).__name__} | asdict(event)
        self._stream.write(json.dumps(_finite(line), default=str, ensure_ascii=False).encode() + b"\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()


class FeedReader:
    """Reads on from where it was: each call gives some of the lines that came since, whole ones only."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0

    def new(self) -> list[dict[str, Any]]:
        """Nothing if there is nothing new: call again until then, for a long feed comes in parts."""
        found: list[dict[str, Any]] = []
        most = MOST_AT_ONCE
        while not found:
            try:
                with self.path.open("rb") as stream:
                    stream.seek(self._at)
                    data = stream.read(most)
            except OSError:  # not there yet, or no more
                return []
            whole = data[: data.rfind(b"\n") + 1]
            self._at += len(whole)
            found = list(_parsed(whole))
            if len(data) < most:
                return found
            most *= 2  # a line may be long
        return found


def read_feed(path: Path) -> Iterator[dict[str, Any]]:
    """All events of a job so far."""
    reader = FeedReader(path)
    while lines := reader.new():
        yield from lines


def find_event(path: Path, seq: int) -> dict[str, Any] | None:
    """One event of a job, found without reading what the others say."""
    begin = f'{{"seq": {seq},'.encode()
    try:
        with path.open("rb") as stream:
            return next((event for line in stream if line.startswith(begin) for event in _parsed(line)), None)
    except OSError:
        return None


def _is_cut(path: Path) -> bool:
    """Whether the last line lacks its end."""
    with path.open("rb") as stream:
        stream.seek(0, 2)
        if stream.tell() == 0:
            return False
        stream.seek(-1, 2)
        return stream.read() != b"\n"


def _parsed(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n"):
        try:
            found = json.loads(line)
        except ValueError:  # what a worker left that died while it wrote
            continue
        if isinstance(found, dict) and isinstance(found.get("seq"), int):
            yield found


def _finite(value: Any) -> Any:
    """JSON knows no infinity, and the page reads JSON."""
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
