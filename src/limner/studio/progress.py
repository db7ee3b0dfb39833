"""How far a job is, folded from its events: what lists show, and what remains when it has ended."""

from dataclasses import asdict, dataclass
from typing import Any

SMOOTHING = 0.95  # of the loss that is shown: single ones jump


@dataclass
class Progress:
    """what: in words. done, total: of that. seconds_left: as far as it can be told. preview: the number of the latest
    event that has a picture. loss: smoothed. kept: the step whose state is the file, and why."""

    what: str = ""
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    loss: float | None = None
    likeness: float | None = None
    preview: int | None = None
    kept_step: int | None = None
    kept_reason: str = ""
    warnings: int = 0
    last_seq: int = 0
    _since: float = 0.0
    _from: int = 0
    _steps: int = 0

    def fold(self, line: dict[str, Any]) -> None:
        """Take one event in."""
        self.last_seq = line["seq"]
        match line["event"]:
            case "Began":
                self._start("starting", 0, 0, line["time"])
            case "Prepared":
                self._at(line["what"], line["done"], line["total"], line["time"])
            case "Started":
                self._steps = line["steps"]
            case "Step":
                loss = line["loss"]
                self.loss = loss if self.loss is None else SMOOTHING * self.loss + (1 - SMOOTHING) * loss
                self._at("step", line["step"], self._steps, line["time"])
            case "Sampled":
                done = line["done"] * line["steps"] + line["step"]
                self._at("drawing", done, line["total"] * line["steps"], line["time"])
            case "Progress":
                self._at("fetching", line["done"], line["total"] or 0, line["time"])
            case "Hashing" | "Reading":
                self._at(line["event"].lower(), line["done"], line["total"], line["time"])
            case "Measured" if line["name"] == "likeness":
                self.likeness = line["value"]
            case "Preview" | "Drawn":
                self.preview = line["seq"]
            case "Kept":
                self.kept_step, self.kept_reason = line["step"], line["reason"]
            case "Warned":
                self.warnings += 1
            case "Ended":
                self.seconds_left = None

    def to_dict(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if not name.startswith("_")}

    def _start(self, what: str, done: int, total: int, time: float) -> None:
        self.what, self.done, self.total, self.seconds_left = what, done, total, None
        self._since, self._from = time, done

    def _at(self, what: str, done: int, total: int, time: float) -> None:
        if what != self.what or self._from > done:
            self._start(what, done, total, time)
            return
        self.done, self.total = done, total
        if done > self._from and time > self._since:
            self.seconds_left = round((total - done) * (time - self._since) / (done - self._from), 1)
