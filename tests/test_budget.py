"""A training ends when its time is up, and what it has learned by then is exported."""

import json
from collections.abc import Generator
from pathlib import Path

import pytest
from PIL import Image

from limner.cli import main
from limner.events import Done, Event, Step
from limner.run.budget import within
from limner.run.folder import Log


def loop(closed: list[int]) -> Generator[Event, None, None]:
    step = 0
    try:
        for step in range(1, 101):
            yield Step(step, 0.1, 1e-4, 0.0)
        yield Done(100, "all 100 steps are done")
    finally:
        closed.append(step)


@pytest.mark.parametrize(
    ("minutes", "spent", "steps"), [(None, 1e9, 100), (1e6, 0.0, 100), (1e-9, 0.0, 1), (5, 301.0, 1)]
)
def test_the_time_that_went_before_counts_and_a_step_is_always_taken(
    minutes: float | None, spent: float, steps: int
) -> None:
    closed: list[int] = []
    *before, done = within(loop(closed), minutes, spent)
    assert len(before) == steps
    assert isinstance(done, Done)
    assert done.step == steps
    assert closed == [steps]
    assert ("is up" in done.reason) == (steps == 1)


def test_closing_closes_the_loop() -> None:
    closed: list[int] = []
    events = within(loop(closed), 5)
    next(events)
    events.close()
    assert closed == [1]


def test_train_exports_what_it_has(tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    Image.new("RGB", (64, 64), (90, 90, 200)).save(folder / "0.png")
    common = ["--keyword", "zqvx", "--base", str(tiny_folder), "--previews", "0", "--crops", "0", "--steps", "500"]
    places = ["--out", str(tmp_path / "a.safetensors"), "--run", str(tmp_path / "run"), "--set", f"cache={tmp_path}/c"]
    assert main(["train", str(folder), *common, *places, "--minutes", "0.01", "--json"]) == 0
    told = capsys.readouterr()
    answer = json.loads(told.out.splitlines()[-1])
    assert Path(answer["file"]).exists()
    steps = len(Log(tmp_path / "run" / "log.jsonl").steps)
    assert 1 <= steps < 500
    assert f"is up after {steps} steps" in told.err
