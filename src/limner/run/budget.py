"""A training ends before its last step, as if that had been it: its time is up, or a person has asked for it."""

import time
from collections.abc import Callable, Generator
from contextlib import closing

from limner.events import Done, Event, Step


def within(
    events: Generator[Event, None, None],
    minutes: float | None,
    spent: float = 0.0,
    asked: Callable[[], bool] = lambda: False,
) -> Generator[Event, None, None]:
    """The loop's events until the time is up or somebody asks, then Done, the loop closed with its state saved; at
    least one step.

    The time of whoever reads them counts too, as that of previews. spent: seconds that an interrupted run took before.
    """
    began = time.perf_counter() - spent
    with closing(events):
        for event in events:
            yield event
            reason = _reason(minutes, time.perf_counter() - began, asked) if isinstance(event, Step) else ""
            if isinstance(event, Step) and reason:
                events.close()
                yield Done(event.step, f"{reason} after {event.step} steps")
                return


def _reason(minutes: float | None, seconds: float, asked: Callable[[], bool]) -> str:
    if minutes is not None and seconds >= 60 * minutes:
        return f"the time of {minutes:g} minutes is up"
    return "ended as asked" if asked() else ""
