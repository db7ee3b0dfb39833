"""Charts of a run: what they show, and that their axes are good for any values."""

import itertools
import json
from pathlib import Path

import pytest

from limner.run.curves import Chart, Curve, charts, extent, relative, smoothed, tell, ticks
from limner.run.folder import Log


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0931, 0.1124), (-3.0, 250.0), (1e-9, 2e-9), (0, 480)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 12
    assert all(low <= value <= high for value in found)
    apart = {round((b - a) / (high - low), 9) for a, b in itertools.pairwise(found)}
    assert len(apart) == 1


def test_a_chart_has_room_for_its_values() -> None:
    flat = Chart("", "", [Curve("", [(0, 0.5), (1, 0.5)])])
    low, high = extent(flat)
    assert low < 0.5 < high
    assert extent(Chart("", "", [Curve("", [(0, 0.0)])], from_zero=True))[0] == 0
    assert extent(Chart("", "", [Curve("", [(0, float("nan")), (1, 2.0)])]))[1] > 2


def test_smoothing_keeps_the_end_and_is_thinned_out() -> None:
    points = [(step, float(step)) for step in range(1, 2001)]
    found = smoothed(points)
    assert len(found) <= 300
    assert found[-1] == (2000, 1988.0)
    assert smoothed(points[:2]) == [(1, 1.0), (2, 1.5)]


def test_curves_of_different_sizes_are_compared_by_their_change() -> None:
    curves = [Curve("a", [(0, 2.0), (1, 1.0)]), Curve("b", [(0, 0.01), (1, 0.02)]), Curve("nothing", [])]
    assert relative(curves) == [Curve("a", [(0, 1.0), (1, 0.5)]), Curve("b", [(0, 1.0), (1, 2.0)])]


def test_a_log_becomes_a_story(tmp_path: Path) -> None:
    lines = [{"step": 0, "measured": {"frozen_loss": 1.0}, "measuring_seconds": 1.0}]
    for step in range(1, 5):
        lines.append({"step": step, "loss": 1.0, "lr": 0.1, "seconds": 1.0})
        figures = {"frozen_loss": 1 - step / 10, "held_out_loss": 1 + step / 10, "near_copies": 0.5}
        figures["likeness"] = 1 - 0.3 * step
        lines.append({"step": step, "measured": figures, "measuring_seconds": 1.0})
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    log = Log(tmp_path / "log.jsonl")
    story = tell("title", 10, log, keeps_best=True)
    assert (story.step, story.steps, story.kept, len(story.milestones)) == (4, 10, 1, 4)
    assert [chart.title for chart in charts(log)] == ["Losses", "Drawn pictures"]
    assert story.measuring_share == pytest.approx(5 / 9)
    assert {warning.split(";")[-1] for warning in story.warnings}
    assert any("by heart" in warning for warning in story.warnings)
    assert any("nearly repeat" in warning for warning in story.warnings)
    assert tell("title", 10, log, keeps_best=False).kept is None
