"""The folder of a run: its settings, what it was made from, a line for each step, its state, its previews."""

import json
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tomlkit

from limner.config import Settings, TrainSettings
from limner.errors import UserError
from limner.events import Chosen, Step
from limner.files import locked, require_writable, write_text


@dataclass(frozen=True)
class Source:
    """One picture that a run learns from. mask: the SHA-256 of its mask's file. repeats: appearances in an epoch."""

    file: str
    sha256: str
    caption: str
    mask: str | None = None
    repeats: int = 1


@dataclass(frozen=True)
class Record:
    """What a run was made from: it goes on only with the same. versions: of Python and the libraries.

    sources: what it learns from; held_out: what it is judged by; class_sources: the person's own pictures of the class.
    """

    base: str
    sources: list[Source]
    versions: dict[str, str]
    held_out: list[Source] = field(default_factory=list)
    class_sources: list[Source] = field(default_factory=list)


class RunFolder:
    """run.toml, record.json, log.jsonl, state/, kept/, previews/, milestones/ and the run's curves in one folder."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings_file = path / "run.toml"
        self.record_file = path / "record.json"
        self.log_file = path / "log.jsonl"
        self.state = path / "state"
        self.kept = path / "kept"
        self.previews = path / "previews"
        self.milestones = path / "milestones"
        self.states = path / "states"
        self.page = path / "run.html"
        self.chart = path / "run.png"
        self.board = path / "tensorboard"
        self.finish = path / "finish"

    def create(
        self, settings: TrainSettings, methods: Mapping[str, Settings], chosen: list[Chosen], record: Record
    ) -> None:
        """Write what a resumed run needs. Raises UserError if there is a run already or it cannot be written."""
        self.require_new()
        write_text(self.record_file, json.dumps(asdict(record), indent=1) + "\n")  # in ASCII: any name
        write_text(self.settings_file, to_toml(settings, methods, chosen))

    def require_new(self) -> None:
        """Raise UserError if there is a run already, or the folder cannot be written."""
        if self.settings_file.exists():
            raise UserError(
                f"{self.path} holds a run already; use limner resume {self.path}, or another folder with --run"
            )
        require_writable(self.settings_file, "--run")

    def record(self) -> Record:
        """What the run was made from. Raises UserError if this is no folder of a run."""
        try:
            held = json.loads(self.record_file.read_text(encoding="utf-8"))
            sources, held_out, of_class = (
                [Source(**source) for source in held.get(name, [])] for name in ("sources", "held_out", "class_sources")
            )
            return Record(held["base"], sources, held["versions"], held_out, of_class)
        except FileNotFoundError as error:
            raise UserError(f"{self.path} is not the folder of a run; give the one that limner train named") from error
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise UserError(f"{self.record_file} is damaged; start the run anew with limner train --config") from error

    def ask_to_finish(self) -> None:
        """Let the run end after its next step, whichever process it is in, with the best of what it learned so far."""
        self.finish.touch()

    def is_to_finish(self) -> bool:
        return self.finish.exists()

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes out. Raises UserError, on entering, if one is in."""
        return locked(self.path)


class Log:
    """log.jsonl: a line for each step, and after some a line of measurements. A resumed run takes back the lines after
    the state it goes on from."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines = _whole_lines(path)
        self._is_begun = False

    def append(self, step: Step) -> None:
        line = {"step": step.step, "loss": step.loss, "lr": step.lr, "seconds": round(step.seconds, 4)}
        self.begin(step.step - 1)
        self._write(line)

    def measured(self, step: int, figures: dict[str, float], seconds: float) -> None:
        """The figures of the state after a step, and the time that measuring took."""
        self._write({"step": step, "measured": figures, "measuring_seconds": round(seconds, 4)})

    def begin(self, step: int) -> None:
        """Take back, once, what lies after the step from which the run goes on."""
        if not self._is_begun:
            self.lines = [each for each in self.lines if each["step"] <= step]
            write_text(self.path, "".join(json.dumps(each) + "\n" for each in self.lines))
            self._is_begun = True

    def _write(self, line: dict[str, Any]) -> None:
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
            if "measured" in line:  # decisions rest on these, so they must not be lost where a later state is not
                stream.flush()
                os.fsync(stream.fileno())
        self.lines.append(line)

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The lines of steps."""
        return [line for line in self.lines if "loss" in line]

    @property
    def measurements(self) -> list[dict[str, Any]]:
        """The lines of measurements."""
        return [line for line in self.lines if "measured" in line]

    def final_loss(self, last: int | None = None) -> float | None:
        """Mean loss of the last tenth of the steps up to `last`, or of all."""
        losses = [line["loss"] for line in self.steps if last is None or line["step"] <= last]
        losses = losses[-max(1, len(losses) // 10) :]
        return sum(losses) / len(losses) if losses else None

    @property
    def seconds(self) -> float:
        """Time that the steps took."""
        return sum(line["seconds"] for line in self.steps)

    @property
    def measuring_seconds(self) -> float:
        """Time that the measurements took."""
        return sum(line["measuring_seconds"] for line in self.measurements)

    @property
    def measuring_share(self) -> float:
        """Share of both that the measurements took."""
        whole = self.seconds + self.measuring_seconds
        return self.measuring_seconds / whole if whole else 0.0


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The log's lines up to the first that is not whole, which a process left that died while it wrote."""
    lines: list[dict[str, Any]] = []
    if not path.exists():
        return lines
    for text in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def to_toml(settings: TrainSettings, methods: Mapping[str, Settings], chosen: list[Chosen]) -> str:
    """run.toml: every setting, and beside those that were left open the reason of their choice."""
    reasons = {each.name: each.reason for each in chosen}
    document = tomlkit.document()
    _fill(document, settings.model_dump(mode="json", by_alias=True, exclude_none=True), reasons)
    for name, method in methods.items():
        table = tomlkit.table()
        _fill(table, method.model_dump(mode="json", by_alias=True, exclude_none=True), {})
        document[name] = table
    return tomlkit.dumps(document)


def _inline(values: Mapping[str, Any]) -> Any:
    """A table within its line, behind which other settings can follow."""
    table = tomlkit.inline_table()
    table.update(values)
    return table


def _fill(table: Any, values: Mapping[str, Any], reasons: Mapping[str, str]) -> None:
    for name, value in values.items():
        item = _inline(value) if isinstance(value, dict) else tomlkit.item(value)
        if name in reasons:
            item.comment(reasons[name])
        table.add(name, item)
