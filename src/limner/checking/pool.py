"""Work on many things on all cores, the results in the order of the things, in constant memory."""

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Self, TypeVar

Thing = TypeVar("Thing")
Result = TypeVar("Result")

AHEAD = 4  # things in work or waiting for each worker


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Workers:
    """Processes that are started when they are first needed, and stay for all calls of in_order until the block ends:
    to start one takes seconds. count: how many; one is this process."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    @property
    def running(self) -> bool:
        """Whether they have been started."""
        return self._pool is not None

    @property
    def pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")  # forking would copy locks of torch's and OpenCV's threads
            self._pool = ProcessPoolExecutor(self.count, context, initializer=_begin)
        return self._pool

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


@contextmanager
def open_workers(workers: int | Workers) -> Iterator[Workers]:
    """So many for the block; or those that there are, which go on after it."""
    if isinstance(workers, Workers):
        yield workers
        return
    with Workers(workers) as own:
        yield own


def in_order(work: Callable[[Thing], Result], things: Iterable[Thing], workers: int | Workers) -> Iterator[Result]:
    """work(thing) of each thing, in their order whatever the number of workers, at most AHEAD for each under way.

    With one worker it happens in this process. Else each worker is a fresh process with one thread for each library;
    `work` is a function of a module, or an object that can be pickled. What it raises is raised here.
    """
    with open_workers(workers) as crew:
        if crew.count <= 1:
            yield from map(work, things)
            return
        waiting: deque[Future[Result]] = deque()
        try:
            for thing in things:
                waiting.append(crew.pool.submit(work, thing))
                if len(waiting) >= crew.count * AHEAD:
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
