"""Folders of runs that were cut, lost, mixed up or damaged: each gets a sentence, and no wrong result."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from training import small_run

from limner import run
from limner.cli import main
from limner.compare.training import steps_of
from limner.config import ResumeSettings, read_training
from limner.errors import UserError
from limner.events import Event, Exported, Started, Step, Warned
from limner.formats import inspect
from limner.inspection import examine
from limner.run.folder import Log, RunFolder
from limner.studio.history import History


def step(number: int) -> Step:
    return Step(number, loss=number / 7, lr=0.1, seconds=0.5)


def log_of(path: Path, steps: int) -> Log:
    log = Log(path)
    for number in range(1, steps + 1):
        log.append(step(number))
    return log


LOG_DAMAGES: dict[str, Callable[[Path], Any]] = {
    "gone": lambda path: path.unlink(),
    "cut": lambda path: path.write_text("".join(path.read_text().splitlines(keepends=True)[:2])),
    "cut within a line": lambda path: path.write_bytes(path.read_bytes()[:-70]),
    "another run's": lambda path: path.write_text(path.read_text().replace("0.1", "0.2")),
    "empty": lambda path: path.write_text(""),
    "a number": lambda path: path.write_text("123\n" + path.read_text()),
    "an empty line of JSON": lambda path: path.write_text("{}\n" + path.read_text()),
    "another type": lambda path: path.write_text(path.read_text().replace("0.1", '"0.1"')),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\x00" * 50),
    "deep": lambda path: path.write_text("[" * 100_000),
}


@pytest.mark.parametrize("damage", LOG_DAMAGES)
def test_a_log_is_written_again_from_the_state(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "log.jsonl"
    log = log_of(path, 3)
    whole, state = path.read_text(), log.state()
    LOG_DAMAGES[damage](path)
    sentence = Log(path).restore(3, state)
    assert sentence is not None
    assert "it is written again from the saved state" in sentence
    assert path.read_text() == whole
    assert Log(path).restore(3, state) is None


def test_a_log_that_has_more_than_the_state_keeps_it(tmp_path: Path) -> None:
    """A measurement of the very state is made after it is saved."""
    log = log_of(tmp_path / "log.jsonl", 3)
    state = log.state()
    log.measured(3, {"frozen_loss": 0.5}, 1.0)
    log.append(step(4))
    again = Log(log.path)
    assert again.restore(3, state) is None
    assert [line["step"] for line in again.lines] == [1, 2, 3, 3]


def test_without_a_state_it_begins_again_and_says_so(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log.jsonl", 3)
    assert "begins again with its first step" in (Log(log.path).restore(0, None) or "")
    assert Log(log.path).lines == []
    assert Log(log.path).restore(0, None) is None
    with pytest.raises(UserError, match="lacks steps that the run has done"):  # of a state that has no log in it
        log_of(tmp_path / "other.jsonl", 2).restore(3, None)


def test_views_of_a_damaged_log(tmp_path: Path) -> None:
    path = log_of(tmp_path / "log.jsonl", 3).path
    (tmp_path / "run.toml").write_text("steps = 9\n")
    path.write_text(path.read_text() + "123\n{}\n[]\n" + '{"step": true}\n{"step": -1, "loss": 1}\n')
    assert len(Log(path).lines) == 3
    assert "is damaged from its line 4 on" in str(Log(path).problem)
    assert steps_of(tmp_path) == (3, 9)
    assert History(path).read()["loss"] == [
        [1, pytest.approx(1 / 7)],
        [2, pytest.approx(2 / 7)],
        [3, pytest.approx(3 / 7)],
    ]
    (tmp_path / "run.toml").write_text("steps = [9]\n")
    assert steps_of(tmp_path) == (0, 0)
    path.unlink()
    path.mkdir()
    assert History(path).read() == {}
    with pytest.raises(UserError, match=r"cannot read .*log\.jsonl"):
        Log(path)


@pytest.mark.parametrize(
    "text", ["[]", "{}", "", "1", "null", '{"base": 1, "sources": [], "versions": {}}', "\0", "[" * 9999]
)
def test_a_damaged_record(tmp_path: Path, text: str) -> None:
    (tmp_path / "record.json").write_text(text)
    for read in (RunFolder(tmp_path).record, lambda: examine(tmp_path), lambda: _resume(tmp_path)):
        with pytest.raises(UserError, match=r"record\.json is damaged; put this run's own back"):
            read()


def _resume(folder: Path) -> list[Event]:
    return list(run.resume(ResumeSettings(run=folder)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "is damaged: it has no keyword"),
        ("garbage", "is not a TOML file"),
        ('keyword = "zqvx"\n', "is damaged: it has no method"),
        ("\0\0", "is not text in"),
    ],
)
def test_a_damaged_run_toml(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "record.json").write_text('{"base": "", "sources": [], "versions": {}}')
    (tmp_path / "run.toml").write_text(text)
    with pytest.raises(UserError, match=sentence):
        _resume(tmp_path)


def test_a_run_folder_is_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UserError, match=r"something else \(photo\.jpg\); give a new or an empty folder with --run"):
        RunFolder(tmp_path).require_new()


@pytest.fixture(scope="module")
def stopped(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, Any]]:
    """The folder of a run that was stopped after five of six steps, the file of one that was not, and its settings."""
    place = tmp_path_factory.mktemp("runs")
    others = {"save_every": 2, "lora": {"rank": 2}, "measure_every": 0, "milestones": 0, "held_out": 0, "keep": "last"}
    values = small_run(place / "photos", [(64, 64)] * 2, tiny_folder, place / "cache", **others)
    whole, out = place / "whole" / "x.safetensors", place / "x.safetensors"
    list(_begin(values, out=whole, run=place / "whole" / "run"))
    events = _begin(values, out=out, run=place / "run")
    for event in events:
        if isinstance(event, Step) and event.step == 5:
            break
    events.close()
    return place / "run", whole, values


def _begin(values: dict[str, Any], **changes: Any) -> Any:
    settings, tables = read_training(values | changes, "test")
    return run.train(settings, tables)


def test_a_resumed_run_with_a_lost_log_makes_the_same_file(
    stopped: tuple[Path, Path, dict[str, Any]], tmp_path: Path
) -> None:
    before, whole, _ = stopped
    folder = Path(shutil.copytree(before, tmp_path / "run"))
    (folder / "log.jsonl").unlink()
    (folder / "state" / "state.pt").write_bytes(b"")
    events = _resume(folder)
    told = [event.message for event in events if isinstance(event, Warned)]
    assert "goes on from the one before, of step 4" in told[0]
    assert "it is written again from the saved state" in told[1]
    assert [event.step for event in events if isinstance(event, Step)] == [5, 6]
    (exported,) = [event for event in events if isinstance(event, Exported)]
    assert exported.path.read_bytes() == whole.read_bytes()
    assert [line["step"] for line in Log(folder / "log.jsonl").steps] == [1, 2, 3, 4, 5, 6]
    exported.path.unlink()


def test_a_file_that_came_meanwhile_is_left_alone(stopped: tuple[Path, Path, dict[str, Any]], tmp_path: Path) -> None:
    before, _, _ = stopped
    folder = Path(shutil.copytree(before, tmp_path / "run"))
    out = before.parent / "x.safetensors"
    told = []
    for event in run.resume(ResumeSettings(run=folder)):
        if isinstance(event, Started):
            out.write_bytes(b"another run's result")
        told.append(event)
    (exported,) = [event for event in told if isinstance(event, Exported)]
    assert out.read_bytes() == b"another run's result"
    assert exported.path.name == "x-2.safetensors"
    assert inspect(exported.path).kind == "lora"
    (warning,) = [event.message for event in told if isinstance(event, Warned)]
    assert "was written by something else while this training ran, and stays; the result is" in warning
    for path in (out, exported.path):
        path.unlink()


def test_a_run_is_repeated_by_one_command(
    stopped: tuple[Path, Path, dict[str, Any]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _, whole, values = stopped
    monkeypatch.chdir(tmp_path)
    config = whole.parent / "run" / "run.toml"
    assert main(["train", values["images"], "--config", str(config), "--json"]) == 0
    told = capsys.readouterr()
    answer = json.loads(told.out.splitlines()[-1])
    assert answer["file"] == str(whole.with_name("x-2.safetensors"))
    assert Path(answer["file"]).read_bytes() != b""
    assert f"out = {whole}" in told.err
    assert "belongs to that run" in told.err
    assert f"this one goes to {answer['file']}" in told.err
    assert Path(answer["run"]).parent == tmp_path / "runs"
    assert whole.exists()


@pytest.mark.parametrize("way", ["itself", "link", "hard link"])
def test_the_base_is_not_replaced_by_what_is_learned_on_it(tmp_path: Path, way: str) -> None:
    base, out = tmp_path / "base.safetensors", tmp_path / "out.safetensors"
    base.write_bytes(b"precious")
    if way == "itself":
        out = base
    elif way == "link":
        out.symlink_to(base)
    else:
        os.link(base, out)
    small = small_run(tmp_path / "photos", [(64, 64)], base, tmp_path / "cache")
    with pytest.raises(UserError, match="is what is to be read; give the result another name"):
        list(_begin(small, out=out, overwrite=True))
    assert base.read_bytes() == b"precious"


def test_a_cache_that_cannot_be_written_to_is_told_first(tmp_path: Path, tiny_folder: Path) -> None:
    (tmp_path / "file").touch()
    small = small_run(tmp_path / "photos", [(64, 64)], tiny_folder, tmp_path / "file" / "cache")
    with pytest.raises(UserError, match="choose another place with --cache"):
        list(_begin(small, out=tmp_path / "x.safetensors"))
