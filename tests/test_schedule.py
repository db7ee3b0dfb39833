"""When a training is measured, and what is decided about it where nothing is said."""

from pathlib import Path
from typing import Any

import pytest

from limner.config import TrainSettings
from limner.run.schedule import PASSES_OF_STEP, Schedule, derive_watching


def settings(**values: Any) -> TrainSettings:
    return TrainSettings(images=Path("x"), keyword="k", **values)


def derived(pictures: int, steps: int, batch: int, /, **values: Any) -> dict[str, Any]:
    return {each.name: each.value for each in derive_watching(settings(**values), pictures, steps, batch)}


def test_milestones_are_even_and_measured_with_the_first_and_the_last_step() -> None:
    schedule = Schedule(steps=100, measure_every=30, milestones=3)
    assert schedule.at_milestones == {33, 67, 100}
    assert schedule.at_measurements == {0, 30, 33, 60, 67, 90, 100}
    assert Schedule(steps=100, measure_every=0, milestones=0).at_measurements == set()
    assert Schedule(steps=2, measure_every=0, milestones=8).at_milestones == {1, 2}


@pytest.mark.parametrize(
    ("pictures", "steps", "batch"), [(24, 480, 8), (5, 300, 8), (100, 800, 8), (24, 2400, 1), (24, 1200, 2)]
)
def test_measuring_costs_less_than_a_tenth(pictures: int, steps: int, batch: int) -> None:
    found = derived(pictures, steps, batch)
    assert (found["stop"], found["keep"]) == ("auto", "best")
    schedule = Schedule(steps, found["measure_every"], found["milestones"])
    assert schedule.milestones >= 2
    assert schedule.passes < 0.1 * PASSES_OF_STEP * batch * steps


@pytest.mark.parametrize(("pictures", "number"), [(1, 0), (5, 0), (6, 1), (24, 4), (30, 4), (1000, 12)])
def test_some_pictures_are_held_out_of_many(pictures: int, number: int) -> None:
    assert derived(pictures, 480, 8)["held_out"] == number


def test_a_given_length_is_kept_to_with_all_pictures() -> None:
    found = derived(24, 480, 8, steps=480)
    assert (found["stop"], found["keep"], found["held_out"]) == ("never", "last", 0)
    assert found["milestones"] > 0  # there is something to look at all the same
    best = derived(24, 480, 8, steps=480, keep="best")
    assert (best["stop"], best["held_out"]) == ("never", 4)
    assert derived(24, 480, 8, steps=480, stop="auto")["keep"] == "best"


def test_without_pictures_or_measurements_nothing_is_judged() -> None:
    assert set(derived(0, 480, 8).values()) == {0, "never", "last"}
    blind = derived(24, 480, 8, measure_every=0, milestones=0)
    assert (blind["stop"], blind["keep"], blind["held_out"]) == ("never", "last", 0)
