"""What draws rests between its pieces of work while a training runs, and at no other time."""

import threading
import time
from collections.abc import Generator
from pathlib import Path

import pytest

from limner.files import locked
from limner.studio import rests
from limner.studio.rests import with_rests

WORK = 0.05  # seconds of a piece


@pytest.fixture
def long_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them would outlast any test."""
    monkeypatch.setattr(rests, "RESTS", 1e6)


def pieces(count: int, ended: list[str]) -> Generator[int, None, str]:
    try:
        for number in range(count):
            time.sleep(WORK)
            yield number
        return "all"
    finally:
        ended.append("closed")


def test_rests_are_twice_the_work(tmp_path: Path) -> None:
    """But for the first piece, which may be a model's opening."""
    with locked(tmp_path):
        began = time.monotonic()
        assert list(with_rests(pieces(4, []), tmp_path, lambda: False)) == [0, 1, 2, 3]
        assert time.monotonic() - began >= (1 + 3 * 3) * WORK


@pytest.mark.usefixtures("long_rests")
def test_without_a_training_there_are_none(tmp_path: Path) -> None:
    assert list(with_rests(pieces(4, []), tmp_path, lambda: False)) == [0, 1, 2, 3]


@pytest.mark.usefixtures("long_rests")
def test_a_rest_ends_with_the_training(tmp_path: Path) -> None:
    is_over = threading.Event()

    def train() -> None:
        with locked(tmp_path):
            is_over.wait()

    training = threading.Thread(target=train)
    training.start()
    threading.Timer(0.5, is_over.set).start()
    assert list(with_rests(pieces(4, []), tmp_path, lambda: False)) == [0, 1, 2, 3]
    assert is_over.is_set()
    training.join()


@pytest.mark.usefixtures("long_rests")
def test_a_rest_ends_when_the_job_shall(tmp_path: Path) -> None:
    with locked(tmp_path):
        assert list(with_rests(pieces(4, []), tmp_path, lambda: True)) == [0, 1, 2, 3]


def test_what_comes_of_the_work_is_passed_on_and_an_end_too(tmp_path: Path) -> None:
    ended: list[str] = []
    work = with_rests(pieces(1, ended), tmp_path, lambda: False)
    assert next(work) == 0
    with pytest.raises(StopIteration) as end:
        next(work)
    assert end.value.value == "all"
    work = with_rests(pieces(2, ended), tmp_path, lambda: False)
    next(work)
    work.close()
    assert ended == ["closed", "closed"]
