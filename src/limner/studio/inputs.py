"""Pictures that requests start from, kept until they are drawn: by names that nobody can guess, and no paths."""

import secrets
import time
from pathlib import Path
from typing import Annotated

from pydantic import StringConstraints

from limner.errors import UserError
from limner.files import atomic_path
from limner.studio.places import Places

DIGITS = 32
SECONDS_KEPT = 7 * 86_400.0  # of what nobody took away
InputName = Annotated[str, StringConstraints(pattern=f"^[0-9a-f]{{{DIGITS}}}$")]


def keep_input(places: Places, data: bytes) -> str:
    """The name of a new one. What it holds is found out by whoever decodes it, which no server does."""
    name = secrets.token_hex(DIGITS // 2)
    with atomic_path(places.inputs / name) as temporary:
        temporary.write_bytes(data)
    return name


def input_path(places: Places, name: str) -> Path:
    """Raises UserError if it is not there any more."""
    if len(name) != DIGITS or set(name) - set("0123456789abcdef") or not (places.inputs / name).is_file():
        raise UserError("the picture to start from is not there any more; send it again")
    return places.inputs / name


def remove_inputs(places: Places, names: list[str]) -> None:
    for name in names:
        (places.inputs / name).unlink(missing_ok=True)


def remove_old_inputs(places: Places) -> None:
    """Those that a server left that was killed."""
    for path in places.inputs.glob("*") if places.inputs.is_dir() else ():
        if time.time() - path.stat().st_mtime > SECONDS_KEPT:
            path.unlink(missing_ok=True)
