"""Drawing leaves the machine to a training: it rests twice as long as it worked, for as long as there is one.

The order of processes is not enough: a training's threads wait for each other, so what takes one of its cores for a
moment holds up all of it, and a graphics card knows no order at all.
"""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

from limner.files import is_locked

RESTS = 2.0  # times what the work before it took
SECONDS_BETWEEN_LOOKS = 0.1  # whether the training has ended, or the job shall

T = TypeVar("T")


def with_rests(events: Generator[Any, None, T], training: Path, is_told: Callable[[], bool]) -> Generator[Any, None, T]:
    """The same work with a rest after each event but the first, before which a model may have been opened.

    training: the folder that a worker holds locked while it trains. is_told: whether something is asked of the job,
    which ends a rest. Closing this closes the work.
    """
    with closing(events):
        try:
            yield next(events)
            while True:
                began = time.monotonic()
                event = next(events)
                seconds = RESTS * (time.monotonic() - began)
                yield event
                _rest(seconds, training, is_told)
        except StopIteration as end:
            return end.value


def _rest(seconds: float, training: Path, is_told: Callable[[], bool]) -> None:
    """For so long, unless no training runs or there is something else to do."""
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0 and is_locked(training) and not is_told():
        time.sleep(min(left, SECONDS_BETWEEN_LOOKS))
