"""The process that does jobs: `python -m limner.studio.worker ROOT MODELS LANE`, a line of JSON in for each job.

A line is {"job": number, "kind": name, "request": values, "attempt": number}. What happens goes into the job's feed,
whatever becomes of the server that gave it; a worker whose server is gone ends when its job does. While it is at work
it holds a lock on the job's folder, by which a new server sees that it lives. An interrupt lets it save and yield.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

from limner.base import pocket
from limner.errors import UserError, advice
from limner.events import Prepared
from limner.files import locked
from limner.studio.control import CANCEL, PAUSE, YIELD
from limner.studio.feed import Began, Ended, FeedWriter
from limner.studio.kinds import LANES, TRAIN, find_kind
from limner.studio.names import for_the_page
from limner.studio.places import LOG, Places
from limner.studio.rests import with_rests
from limner.studio.work.task import Task

STOPS = {PAUSE: "paused", CANCEL: "cancelled", YIELD: "yielded"}
SECONDS_TO_LOCK = 5.0  # a server that looks whether the job is locked holds the lock itself for a moment


def main() -> None:
    root, models, lane = sys.argv[1:]
    # Ctrl-C at the terminal does not come here (workers.py); a server in the background may have it ignored for all
    signal.signal(signal.SIGINT, signal.default_int_handler)
    places, kept = Places(Path(root), Path(models)), dict[str, Any]()
    for line in sys.stdin.buffer:
        work(json.loads(line), places, lane, kept)


def work(order: dict[str, Any], places: Places, lane: str, kept: dict[str, Any]) -> None:
    """Do one job to its end, of whatever kind that is. kept: what stays open for the next one, as a model.

    Raises SystemExit if another worker has it, or if nothing can be told, as the disk is full.
    """
    folder = places.job(order["job"])
    try:
        with ExitStack() as held:
            held.enter_context(_printing(folder / LOG))
            held.enter_context(locked(folder, SECONDS_TO_LOCK))
            if lane == TRAIN:
                held.enter_context(locked(places.training, SECONDS_TO_LOCK))
            feed = held.enter_context(closing(FeedWriter(folder)))
            feed.write(Began(order["attempt"]))
            feed.write(_perform(order, Task(order["job"], places, order["attempt"], kept), lane, feed))
    except UserError as problem:
        raise SystemExit(str(problem)) from problem
    except OSError as problem:
        raise SystemExit(f"nothing can be written any more ({problem.strerror}); make room on the disk") from problem


@contextmanager
def _printing(log: Path) -> Iterator[None]:
    """What this process prints, also outside of Python, goes there, its last words too if it ends by what happens.
    After that nowhere, so that the folder can go."""
    log.parent.mkdir(parents=True, exist_ok=True)
    _print_into(log)
    yield
    _print_into(Path(os.devnull))


def _print_into(path: Path) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    with path.open("ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)


def _perform(order: dict[str, Any], task: Task, lane: str, feed: FeedWriter) -> Ended:
    try:
        kind = find_kind(order["kind"])
        request = kind.request.read(order["request"], "the request")
        base = getattr(request, "base", None)
        if base is not None and (what := task.opens(base or pocket.NAME)):
            feed.write(Prepared(0, 1, what))  # at once, for importing what does the work alone takes seconds
        events = kind.perform()(request, task)
        if LANES[lane].gives_way:
            events = with_rests(events, task.places.training, lambda: bool(task.asked))
        with closing(events):
            while True:
                said = task.asked
                if said in STOPS:
                    events.close()  # a training saves its state
                    return Ended(STOPS[said])  # type: ignore[arg-type]
                try:
                    feed.write(next(events))
                except StopIteration as end:
                    return Ended("done", result=end.value)
    except KeyboardInterrupt:
        return Ended("yielded")
    except UserError as problem:
        return Ended("failed", for_the_page(str(problem), task.places))
    except Exception as problem:
        traceback.print_exc()
        fault = f"a fault of Limner's ({type(problem).__name__}: {problem}); the job's log tells more"
        return Ended(
            "failed",
            for_the_page(advice(problem, order["kind"], order["request"].get("method", "")) or fault, task.places),
        )


if __name__ == "__main__":
    main()
