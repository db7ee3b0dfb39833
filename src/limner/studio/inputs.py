"""Pictures that requests start from, and their masks: kept by names made of what they hold, so that each is kept once.

One stays as long as a picture of the gallery was drawn from it or an open job names it; else for a week, until it is
drawn from. What they take together is bounded: those that nobody sent or drew from for longest go first.
"""

import hashlib
import os
import secrets
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

from pydantic import StringConstraints

from limner.errors import UserError
from limner.files import atomic_path
from limner.studio.gallery import Gallery, inputs_of
from limner.studio.jobs import OPEN, Jobs
from limner.studio.places import Places

DIGITS = 32
SECONDS_KEPT = 7 * 86_400.0  # of what no picture was drawn from
MOST_INPUTS = 20_000
MOST_BYTES = 8 * 2**30  # of all of them
InputName = Annotated[str, StringConstraints(pattern=f"^[0-9a-f]{{{DIGITS}}}$")]


def keep_input(places: Places, data: bytes, is_shared: bool = True) -> str:
    """The name of what is kept from now on. What it holds is found out by whoever decodes it, which no server does.

    is_shared: with all who send the same. Else it has a name that nobody can guess, and is the caller's to remove.
    """
    key = b"" if is_shared else secrets.token_bytes(DIGITS // 2)
    name = hashlib.blake2b(data, digest_size=DIGITS // 2, key=key).hexdigest()
    try:
        os.utime(places.inputs / name)
    except FileNotFoundError:
        with atomic_path(places.inputs / name) as temporary:
            temporary.write_bytes(data)
    return name


def input_path(places: Places, name: str) -> Path:
    """Raises UserError if it is not there any more."""
    if len(name) != DIGITS or set(name) - set("0123456789abcdef") or not (places.inputs / name).is_file():
        raise UserError("the picture to start from is not there any more; send it again")
    return places.inputs / name


def missing_inputs(places: Places, request: dict[str, Any]) -> list[str]:
    """Those of a request that are not there any more."""
    return [name for name in inputs_of(request) if not (places.inputs / name).is_file()]


def remove_inputs(places: Places, names: Iterable[str]) -> None:
    for name in names:
        (places.inputs / name).unlink(missing_ok=True)


def release_inputs(places: Places, gallery: Gallery, jobs: Jobs, names: Iterable[str]) -> None:
    """Remove those that no picture of the gallery was drawn from any more, unless one will be."""
    waited_for = _waited_for(jobs)  # first: a job that ends meanwhile has its pictures in the gallery by then
    remove_inputs(places, set(names) - waited_for - gallery.inputs())


def tidy_inputs(
    places: Places, gallery: Gallery, jobs: Jobs, most: int = MOST_INPUTS, most_bytes: int = MOST_BYTES
) -> None:
    """Remove what nobody needs, and what is too much: never what an open job names."""
    waited_for = _waited_for(jobs)
    needed = waited_for | gallery.inputs()
    now = time.time()
    kept: list[tuple[float, int, Path]] = []  # (when it was last sent, its bytes, it)
    for path in places.inputs.glob("*"):
        try:
            about = path.stat()
        except FileNotFoundError:  # another request tidies as well
            continue
        if path.name not in needed and now - about.st_mtime > SECONDS_KEPT:
            path.unlink(missing_ok=True)
        else:
            kept.append((about.st_mtime, about.st_size, path))
    count, total = len(kept), sum(size for _, size, _ in kept)
    for _, size, path in sorted(kept):
        if count <= most and total <= most_bytes:
            break
        if path.name not in waited_for:
            path.unlink(missing_ok=True)
            count, total = count - 1, total - size


def _waited_for(jobs: Jobs) -> set[str]:
    return {name for job in jobs.find(OPEN, hidden=None, limit=MOST_INPUTS) for name in inputs_of(job.request)}
