"""The folder of a run: its settings, what it was made from, a line for each step, its state, its previews."""

import json
import os
import uuid
import zlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import tomlkit
import torch
from torch import Tensor

from limner.config import RUN_HEADER, Settings, TrainSettings
from limner.errors import UserError
from limner.events import Chosen, Step
from limner.files import locked, require_own_folder, require_writable, stamp_of, sync_folder, write_text


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
    id: tells this run from all others.
    """

    base: str
    sources: list[Source]
    versions: dict[str, str]
    held_out: list[Source] = field(default_factory=list)
    class_sources: list[Source] = field(default_factory=list)
    id: str = ""


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
        self.results_file = path / "results.json"

    def create(
        self, settings: TrainSettings, methods: Mapping[str, Settings], chosen: list[Chosen], record: Record
    ) -> None:
        """Write what a resumed run needs. Raises UserError if there is a run already or it cannot be written."""
        self.require_new()
        held = asdict(replace(record, id=uuid.uuid4().hex))
        write_text(self.record_file, json.dumps(held, indent=1) + "\n", "--run")  # in ASCII: any name
        write_text(self.settings_file, to_toml(settings, methods, chosen), "--run")

    def require_new(self) -> None:
        """Raise UserError if there is a run already, or the folder cannot be written."""
        if self.settings_file.exists():
            raise UserError(
                f"{self.path} holds a run already; use limner resume {self.path}, or another folder with --run"
            )
        require_own_folder(self.path, self.settings_file.name, {self.finish.name, self.record_file.name}, "--run")
        require_writable(self.settings_file, "--run")

    def record(self) -> Record:
        """What the run was made from. Raises UserError if this is no folder of a run."""
        try:
            held = json.loads(self.record_file.read_text(encoding="utf-8"))
            sources, held_out, of_class = (
                [Source(**source) for source in held.get(name, [])] for name in ("sources", "held_out", "class_sources")
            )
            record = Record(held["base"], sources, held["versions"], held_out, of_class, held.get("id", ""))
            texts = [record.base, record.id, *record.versions.values()]
            for source in (*sources, *held_out, *of_class):
                texts += [source.file, source.sha256, source.caption, source.mask or ""]
            if not all(isinstance(text, str) for text in texts):
                raise TypeError("not all is text")
            return record
        except (FileNotFoundError, NotADirectoryError) as error:
            raise UserError(f"{self.path} is not the folder of a run; give the one that limner train named") from error
        except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise UserError(
                f"{self.record_file} is damaged; put this run's own back, or train again with limner train --config "
                f"{self.settings_file}"
            ) from error

    def note_result(self, path: Path) -> None:
        """Remember that a folder outside is what this run made, so that it may replace it."""
        held = self._results() | {str(path): stamp_of(path)}
        write_text(self.results_file, json.dumps(held) + "\n")

    def is_result(self, path: Path) -> bool:
        """Whether what is at a path is what this run made."""
        return self._results().get(str(path)) == list(stamp_of(path))

    def _results(self) -> dict[str, Any]:
        try:
            held = json.loads(self.results_file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return held if isinstance(held, dict) else {}

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
    the state it goes on from.

    problem: a sentence if the file is damaged; its lines are those before that place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines, self.problem = _whole_lines(path)
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
            self._write_all()

    def state(self) -> Tensor:
        """All lines, which are on disk by now, for a state to hold: bytes that zlib packed."""
        if self.path.exists():
            with self.path.open("rb+") as stream:
                os.fsync(stream.fileno())
            sync_folder(self.path.parent)
        return torch.frombuffer(bytearray(zlib.compress(_text(self.lines).encode())), dtype=torch.uint8)

    def restore(self, step: int, state: Tensor | None) -> str | None:
        """Take back what lies after a step, and write again what a state has and the file has not; a sentence if that
        was needed. Raises UserError if steps are missing that the state does not have."""
        kept = [each for each in self.lines if each["step"] <= step]
        told = None
        if state is not None:
            saved = [json.loads(line) for line in zlib.decompress(state.numpy().tobytes()).decode().splitlines()]
            if _text(kept[: len(saved)]) != _text(saved):
                what = "is not this run's own, or is damaged" if self.path.exists() else "is gone"
                told = f"{self.path} {what}; it is written again from the saved state"
                kept = saved
        elif step and [each["step"] for each in kept if "loss" in each] != list(range(1, step + 1)):
            raise UserError(
                f"{self.path} lacks steps that the run has done; put the run's own back, or start a new run"
            )
        elif not step and any(each["step"] for each in self.lines):
            told = f"{self.path.parent} has no saved state; the run begins again with its first step"
        if kept != self.lines or not self._is_begun:
            self.lines = kept
            self._write_all()
        return told

    def _write_all(self) -> None:
        write_text(self.path, _text(self.lines))
        self.problem, self._is_begun = None, True

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


def _text(lines: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(each) + "\n" for each in lines)


def _whole_lines(path: Path) -> tuple[list[dict[str, Any]], str | None]:
    """A log's lines up to the first that is none, and a sentence about that; a last line without its end is what a
    process left that died while it wrote. Raises UserError if it cannot be read."""
    lines: list[dict[str, Any]] = []
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return lines, None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; put the run's own file there") from error
    for number, each in enumerate(text.split("\n"), 1):
        is_last = number > text.count("\n")
        line = read_line(each)
        if line is None and is_last:
            break
        if line is None:
            return lines, f"{path} is damaged from its line {number} on; limner resume writes it again from the state"
        lines.append(line)
    return lines, None


def read_line(text: str | bytes) -> dict[str, Any] | None:
    """A line of the log, None if it is none."""
    try:
        line = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(line, dict) or type(line.get("step")) is not int or line["step"] < 0:
        return None
    measured = line.get("measured")
    if isinstance(measured, dict):
        numbers = [*measured.values(), line.get("measuring_seconds")]
    else:
        numbers = [line.get(name) for name in ("loss", "lr", "seconds")]
    return line if all(type(each) in (int, float) for each in numbers) else None


def to_toml(settings: TrainSettings, methods: Mapping[str, Settings], chosen: list[Chosen]) -> str:
    """run.toml: every setting, and beside those that were left open the reason of their choice."""
    reasons = {each.name: each.reason for each in chosen}
    document = tomlkit.document()
    document.add(tomlkit.comment(RUN_HEADER))
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
