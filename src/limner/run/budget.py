"""A training's time is up: it ends where it is, as if that had been its last step."""

import time
from collections.abc import Generator
from contextlib import closing

from limner.events import Done, Event, Step


def within(
    events: Generator[Event, None, None], minutes: float | None, spent: float = 0.0
) -> Generator[Event, None, None]:
    """The loop's events until the time is up, then Done, the loop closed with its state saved; at least one step.

    The time of whoever reads them counts too, as that of previews. spent: seconds that an interrupted run took before.
    """
    began = time.perf_counter() - spent
    with closing(events):
        for event in events:
            yield event
            if minutes is not None and isinstance(event, Step) and time.perf_counter() - began >= 60 * minutes:
                events.close()
                yield Done(event.step, f"the time of {minutes:g} minutes is up after {event.step} steps")
                return
