"""Work on many things on all cores, the results in the order of the things, in constant memory."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import TypeVar

Thing = TypeVar("Thing")
Result = TypeVar("Result")

AHEAD = 4  # things in work or waiting for each worker


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def in_order(work: Callable[[Thing], Result], things: Iterable[Thing], workers: int) -> Iterator[Result]:
    """work(thing) of each thing, in their order whatever the number of workers, at most AHEAD for each under way.

    With one worker it happens in this process. Else each worker is a fresh process with one thread for each library;
    `work` is a function of a module, or an object that can be pickled. What it raises is raised here.
    """
    if workers <= 1:
        yield from map(work, things)
        return
    context = multiprocessing.get_context("spawn")  # forking would copy locks of torch's and OpenCV's threads
    with ProcessPoolExecutor(workers, context, initializer=_begin) as pool:
        waiting: deque[Future[Result]] = deque()
        try:
            for thing in things:
                waiting.append(pool.submit(work, thing))
                if len(waiting) >= workers * AHEAD:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()


def _begin() -> None:
    """Make a worker of a fresh process: with one thread, deaf to interrupts, and gone when its parent is."""
    import cv2

    cv2.setNumThreads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # read by torch when it is imported
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent is told too, and ends the work in order
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers, which would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
