"""How far a job is, folded from its events: what lists show, and what remains when it has ended."""

from dataclasses import asdict, dataclass
from typing import Any

SMOOTHING = 0.95  # of the loss that is shown, a step: single ones jump


@dataclass
class Progress:
    """what: in words. done, total: of that. seconds_left: as far as it can be told. preview: the number of the latest
    event that has a picture. loss: smoothed. kept: the step whose state is the file, and why. warnings: how many there
    were; warning: the last one's sentence. seconds: that workers were at it, pauses left out."""

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
    warning: str = ""
    last_seq: int = 0
    seconds: float = 0.0
    _time: float = 0.0
    _since: float = 0.0
    _from: int = 0
    _step: int = 0
    _steps: int = 0

    def fold(self, line: dict[str, Any]) -> None:
        """Take one event in; what a later version of the program wrote into it, and is not known here, is passed by."""
        self.last_seq = line["seq"]
        try:
            self._fold(line)
        except (KeyError, TypeError):
            return

    def _fold(self, line: dict[str, Any]) -> None:
        if line["event"] != "Began" and self._time:
            self.seconds += max(line["time"] - self._time, 0.0)
        self._time = line["time"]
        match line["event"]:
            case "Began":
                self._start("starting", 0, 0, line["time"])
            case "Prepared":
                self._at(line["what"], line["done"], line["total"], line["time"])
            case "Started":
                self._steps = line["steps"]
                self._step = 0
            case "Step":
                self._take_loss(line["step"], line["loss"])
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
            case "Preview" | "Drawn" | "Compared":
                self.preview = line["seq"]
            case "Milestone" if line["number"] == 1:
                self.preview = line["seq"]
            case "Kept":
                self.kept_step, self.kept_reason = line["step"], line["reason"]
                self._start("writing the file", 0, 0, line["time"])
            case "Warned":
                self.warnings += 1
                self.warning = line["message"]
            case "Ended":
                self.seconds_left = None

    def to_dict(self) -> dict[str, Any]:
        plain = {name: value for name, value in asdict(self).items() if not name.startswith("_")}
        return plain | {"seconds": round(self.seconds, 1)}

    def _take_loss(self, step: int, loss: float) -> None:
        """loss: the mean of the steps since the last that was told of."""
        kept = SMOOTHING ** max(step - self._step, 1)
        self.loss = loss if self.loss is None else kept * self.loss + (1 - kept) * loss
        self._step = step

    def _start(self, what: str, done: int, total: int, time: float) -> None:
        self.what, self.done, self.total, self.seconds_left = what, done, total, None
        self._since, self._from = time, done

    def _at(self, what: str, done: int, total: int, time: float) -> None:
        """The rate is that since this attempt began with it: what measuring and previews take between is in it."""
        if what != self.what or done < self.done:
            self._start(what, done, total, time)
            return
        self.done, self.total = done, total
        if done > self._from and time > self._since:
            self.seconds_left = round((total - done) * (time - self._since) / (done - self._from), 1)
