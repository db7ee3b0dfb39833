"""A dry run does what a training does first: what fits there fits."""

from pathlib import Path
from typing import Any

import pytest
from training import small_run

from limner import run
from limner.config import read_training
from limner.evaluate.milestone import Judge
from limner.events import Measured, UsingBase


def test_the_first_milestone_is_tried_too(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    judged: list[list[str]] = []
    real = Judge.__call__

    def judge(self: Judge) -> Any:
        drawn = real(self)
        judged.append([picture.infotext for picture in drawn.pictures])
        return drawn

    monkeypatch.setattr(Judge, "__call__", judge)
    watched = {"held_out": 1, "measure_every": 2, "milestones": 1, "keep": "best", "steps": 2, "lora": {"rank": 2}}
    values = small_run(tmp_path / "photos", [(90, 70)] * 3, tiny_folder, tmp_path / "cache", **watched)
    settings, tables = read_training(values, "test")
    events = list(run.dry_run(settings, tables))
    assert isinstance(events[0], UsingBase)
    assert len(judged) == 1
    assert len(judged[0]) == 6  # all of its images, so that their memory is taken
    measured = {event.name: event.value for event in events if isinstance(event, Measured)}
    assert measured.keys() >= {"seconds", "memory_bytes", "file_bytes"}
    assert not (tmp_path / "runs").exists()
    judged.clear()
    plain, tables = read_training(values | {"measure_every": 0, "milestones": 0, "held_out": 0, "keep": "last"}, "test")
    list(run.dry_run(plain, tables))
    assert not judged
