"""What interrupted commands left in a models folder, taken out of it: `limner models tidy`."""

import os
import shutil
import time
from pathlib import Path

from limner.files import is_locked
from limner.library.download import STAGING
from limner.library.tidy import TRASH
from limner.temporary import clear

A_WEEK = 7 * 24 * 3600.0  # after which nobody goes on with a download
Left = list[tuple[Path, int]]


def clear_models(root: Path) -> tuple[Left, Left]:
    """Remove temporaries of dead processes from a models folder and all in it, and parts of downloads that nobody has
    gone on with for a week; returns what was removed, and the parts that were kept, each with its bytes."""
    removed: Left = []
    for folder, names, _ in os.walk(root):
        names[:] = [name for name in names if not name.startswith(".") and name not in (STAGING, TRASH)]
        removed += clear(Path(folder), always=True)
    kept: Left = []
    for part in sorted((root / STAGING).glob("*/")):
        if is_locked(part):
            continue
        files = [each for each in part.rglob("*") if each.is_file()]
        size = sum(each.stat().st_size for each in files)
        newest = max((each.stat().st_mtime for each in files if each.name != ".lock"), default=0.0)
        if time.time() - newest < A_WEEK:
            kept.append((part, size))
        else:
            shutil.rmtree(part, ignore_errors=True)
            removed.append((part, size))
    return removed, kept
