"""The process that does jobs: `python -m limner.studio.worker ROOT MODELS NICENESS`, a line of JSON in for each job.

A line is {"job": number, "kind": name, "request": values, "attempt": number, "shares": whether a training runs beside}.
What happens goes into the job's feed, whatever becomes of the server that gave it; a worker whose server is gone ends
when its job does. While it is at work it holds a lock on the job's folder, by which a new server sees that it lives. An
interrupt lets it save and yield.
"""

import contextlib
import json
import os
import signal
import sys
import traceback
from contextlib import closing
from pathlib import Path
from typing import Any

from limner.errors import UserError, advice
from limner.files import locked
from limner.studio.control import CANCEL, PAUSE, YIELD, asked
from limner.studio.feed import Began, Ended, FeedWriter
from limner.studio.forms import in_words_of_forms
from limner.studio.kinds import find_kind
from limner.studio.places import Places
from limner.studio.work.task import Task

STOPS = {PAUSE: "paused", CANCEL: "cancelled", YIELD: "yielded"}
SECONDS_TO_LOCK = 5.0  # a server that looks whether the job is locked holds the lock itself for a moment


def main() -> None:
    root, models, niceness = sys.argv[1:]
    # Ctrl-C at the terminal does not come here (workers.py); a server in the background may have it ignored for all
    signal.signal(signal.SIGINT, signal.default_int_handler)
    step_back(int(niceness))
    places, kept = Places(Path(root), Path(models)), dict[str, Any]()
    for line in sys.stdin.buffer:
        order = json.loads(line)
        work(order, places, kept)


def step_back(niceness: int) -> None:
    """Let other processes go first. Where Linux shares cores out between sessions before it looks at processes
    (autogroup), and a worker is a session of its own, it is the session that steps back."""
    if hasattr(os, "nice"):
        os.nice(niceness)
    if niceness and hasattr(os, "getsid") and os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(niceness), encoding="ascii")


def work(order: dict[str, Any], places: Places, kept: dict[str, Any]) -> None:
    """Do one job to its end, of whatever kind that is. kept: what stays open for the next one, as a model.

    Raises SystemExit if another worker has it, or if nothing can be told, as the disk is full.
    """
    folder = places.job(order["job"])
    try:
        with locked(folder, SECONDS_TO_LOCK), closing(FeedWriter(folder)) as feed:
            feed.write(Began(order["attempt"]))
            feed.write(_perform(order, Task(order["job"], places, order["attempt"], kept, order["shares"]), feed))
    except UserError as problem:
        raise SystemExit(str(problem)) from problem
    except OSError as problem:
        raise SystemExit(f"nothing can be written any more ({problem.strerror}); make room on the disk") from problem


def _perform(order: dict[str, Any], task: Task, feed: FeedWriter) -> Ended:
    try:
        kind = find_kind(order["kind"])
        request = kind.request.read(order["request"], "the request")
        with closing(kind.perform()(request, task)) as events:
            while True:
                said = asked(task.folder)
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
        return Ended("failed", in_words_of_forms(str(problem)))
    except Exception as problem:
        traceback.print_exc()
        fault = f"a fault of Limner's ({type(problem).__name__}: {problem}); the job's log tells more"
        return Ended("failed", in_words_of_forms(advice(problem) or fault))


if __name__ == "__main__":
    main()
