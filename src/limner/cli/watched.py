"""`python -m limner.cli.watched ARGUMENTS`: the command line in a process that does not outlive who started it.

Its input is a pipe that the starter holds open. Once that is closed, by the starter or by its death, this process is
interrupted, as by Ctrl-C: a training saves its state and ends.
"""

import _thread
import os
import signal
import sys
import threading
from types import FrameType

from limner.cli import INTERRUPTED
from limner.cli import main as command

_is_interrupted = threading.Event()


def main() -> int:
    signal.signal(signal.SIGINT, _interrupt)  # a starter in the background may have it ignored
    threading.Thread(target=_wait_for_the_end, daemon=True).start()
    try:
        return INTERRUPTED if _is_interrupted.is_set() else command()
    except BrokenPipeError:  # there is nobody left to be told
        return INTERRUPTED


def _wait_for_the_end() -> None:
    while os.read(0, 1024):  # not through sys.stdin, whose lock Python wants back when it ends
        pass
    _thread.interrupt_main()


def _interrupt(number: int, frame: FrameType | None) -> None:
    """Once: a second one would cut off the saving of the state."""
    if not _is_interrupted.is_set():
        _is_interrupted.set()
        raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
