"""What a run's log says, as curves: read on as it grows, and thinned out, so that hours of steps stay small.

Not by limner.run.curves, which judges too and for that brings torch along.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOSS = "loss"  # of the training itself; the other curves have the names of what was measured
MOST_POINTS = 400  # of a curve; it has at least half as many as long as there are so many steps
MOST_HELD = 8  # logs that are kept open at a time
MOST_AT_ONCE = 1 << 20  # bytes


@dataclass
class Curve:
    """A value by step. Each point is the mean of `width` values, which doubles as the points become too many."""

    width: int = 1
    points: list[tuple[int, float]] = field(default_factory=list)
    _sum: float = 0.0
    _count: int = 0
    _step: int = 0

    def add(self, step: int, value: float) -> None:
        self._step = step
        self._sum += value
        self._count += 1
        if self._count < self.width:
            return
        self.points.append((step, self._sum / self._count))
        self._sum, self._count = 0.0, 0
        if len(self.points) > MOST_POINTS:
            self._halve()

    def _halve(self) -> None:
        pairs = zip(self.points[0::2], self.points[1::2], strict=False)
        left = self.points[-1][1] if len(self.points) % 2 else 0.0
        if len(self.points) % 2:  # without a partner: it waits for the next ones
            self._sum, self._count = left * self.width, self.width
        self.points = [(step, (one + other) / 2) for (_, one), (step, other) in pairs]
        self.width *= 2

    def all(self) -> list[list[float]]:
        """With what has come since the last point."""
        rest = [[self._step, self._sum / self._count]] if self._count else []
        return [*([step, value] for step, value in self.points), *rest]


class History:
    """The curves of one log. A run that goes on from an earlier state writes a new one, read from the start."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._begin(None)

    def _begin(self, file: int | None) -> None:
        self._file, self._at = file, 0
        self._curves: dict[str, Curve] = {}

    def read(self) -> dict[str, list[list[float]]]:
        """{name: [[step, value], ...]} of all there is by now."""
        try:
            with self.path.open("rb") as stream:
                file = self.path.stat().st_ino
                if file != self._file or stream.seek(0, 2) < self._at:
                    self._begin(file)
                stream.seek(self._at)
                while lines := stream.readlines(MOST_AT_ONCE):
                    for line in lines:
                        if not line.endswith(b"\n"):
                            break
                        self._at += len(line)
                        self._take(line)
        except OSError:
            self._begin(None)
        return {name: curve.all() for name, curve in self._curves.items()}

    def _take(self, line: bytes) -> None:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            return
        for name, value in _values(found):
            self._curves.setdefault(name, Curve()).add(found["step"], value)


class Histories:
    """Those that were asked for last. For several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: OrderedDict[Path, History] = OrderedDict()

    def of(self, log: Path) -> dict[str, list[list[float]]]:
        with self._lock:
            history = self._held.setdefault(log, History(log))
            self._held.move_to_end(log)
            while len(self._held) > MOST_HELD:
                self._held.popitem(last=False)
            return history.read()


def _values(line: Any) -> Iterator[tuple[str, float]]:
    if not isinstance(line, dict) or type(line.get("step")) is not int or line["step"] < 0:
        return
    found = {LOSS: line.get("loss")} | (line["measured"] if isinstance(line.get("measured"), dict) else {})
    for name, value in found.items():
        if isinstance(value, int | float) and value == value and abs(value) != float("inf"):
            yield name, float(value)
