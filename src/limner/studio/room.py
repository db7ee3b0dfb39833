"""Whether there is room on the disk for what the studio writes all the time: its queue, and what jobs tell."""

import shutil
from pathlib import Path

LEAST_ROOM = 16 << 20  # bytes
NO_ROOM = "the disk is full; the queue waits, and goes on by itself when you have made room"


def is_full(folder: Path) -> bool:
    """Whether what was just written there may not have been, and the next thing will not."""
    try:
        return shutil.disk_usage(folder).free < LEAST_ROOM
    except OSError:
        return False
