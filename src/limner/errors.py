"""The one exception that a person is meant to read."""

import errno

FULL = (errno.ENOSPC, errno.EDQUOT)


class UserError(Exception):
    """What the user can fix: one sentence that says what happened, to which file, and what to do (exit status 2)."""


def advice(error: Exception) -> str | None:
    """What a person can do about an error of the machine, or None if it is the program's."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return "there is not enough memory; lower --batch-size or --resolution, or say --gradient-checkpointing"
    if isinstance(error, OSError) and error.errno in FULL:
        return "the disk is full; make room on it, and go on"
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}; correct that and try again"
    return None
