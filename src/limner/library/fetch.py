"""One file's bytes brought to disk, through whatever happens on the way: what came stays, and the next try goes on."""

import errno
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import httpx2

from limner.errors import UserError
from limner.files import write_text
from limner.library.filenames import disposition_name
from limner.library.offer import Progress, Told, Waiting
from limner.library.web import Status, Waits, Web
from limner.network import Unreachable

SLACK_BYTES = 2048  # sizes in kilobytes are rounded
SPARE_BYTES = 64 * 2**20  # that stay free on the disk
SECONDS_BETWEEN = 0.2  # reports of progress
WORTH = 50  # an attempt that brought so small a part of the file, or this many bytes, is no failure
WORTH_BYTES = 2**20
FetchEvent: TypeAlias = Progress | Waiting | Told
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18}|\*)")


@dataclass(frozen=True)
class Expected:
    """What is known of a file beforehand. most_bytes: no more are taken. explain: a status in words."""

    url: str
    size: int | None
    sha256: str | None
    most_bytes: int
    explain: Callable[[Status], UserError]


@dataclass
class _State:
    """What stands beside a part: whose beginning it is."""

    etag: str = ""
    sha256: str | None = None
    total: int | None = None
    name: str = ""  # as the site calls the file; not cleaned

    @classmethod
    def read(cls, path: Path) -> "_State | None":
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def write(self, path: Path) -> None:
        write_text(path, json.dumps(vars(self)))


class Fetch:
    """A download into `folder`, which is its own and may hold the beginning of it from before."""

    def __init__(self, web: Web, expected: Expected, folder: Path) -> None:
        self.part, self._beside = folder / "part", folder / "part.json"
        self._web, self._expected = web, expected
        self._state = self._earlier()
        self.resumed = self._have > 0  # whether what is here came in more than one answer

    @property
    def name(self) -> str:
        """What the site calls the file, "" if it does not say."""
        return self._state.name

    @property
    def _have(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def forget(self) -> None:
        """Begin from zero."""
        self.part.unlink(missing_ok=True)
        self._beside.unlink(missing_ok=True)
        self._state = _State(sha256=self._expected.sha256)
        self.resumed = False

    def run(self) -> Generator[FetchEvent, None, None]:
        """Bring the whole file. Raises UserError where that cannot be; what came stays for another time."""
        waits = Waits(self._web.limits)
        require_space(self.part.parent, (self._expected.size or 0) - self._have)
        while True:
            before = self._have
            try:
                yield from self._attempt()
                return
            except (Status, Unreachable) as error:
                if self._have - before >= min(WORTH_BYTES, (self._expected.size or 0) // WORTH + 1):
                    waits.reset()
                try:
                    yield waits.after(error)
                except Status as status:
                    raise self._expected.explain(status) from status
                time.sleep(waits.seconds)
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    folder = self.part.parent.parent
                    raise UserError(f"there is no more space in {folder}; make some, and say the same again") from error
                raise UserError(f"cannot write in {self.part.parent}: {error.strerror}; make it writable") from error

    def _earlier(self) -> _State:
        """What an earlier download left, if it was of this very file."""
        found = _State.read(self._beside)
        fits = found is not None and (found.sha256 == self._expected.sha256 and (found.sha256 or found.etag))
        if not fits:
            self.part.unlink(missing_ok=True)
            return _State(sha256=self._expected.sha256)
        assert found is not None
        return found

    def _attempt(self) -> Generator[FetchEvent, None, None]:
        have = self._have
        if have and have == self._state.total:
            return
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        if have:
            headers["Range"] = f"bytes={have}-"
            if self._state.etag:
                headers["If-Range"] = self._state.etag
        try:
            with self._web.open(self._expected.url, headers) as answer:
                start = self._place(answer, have)
                if have and not start:
                    yield Told("the site does not go on where the download stopped; it begins again")
                self.resumed = start > 0
                with self.part.open("r+b" if start else "wb") as file:
                    file.seek(start)
                    yield from self._write(answer, file, start)
                    file.flush()
                    os.fsync(file.fileno())
        except Status as status:
            if status.status != 416 or not have:
                raise
            self.forget()  # the site has no such place in it: what is here cannot be its beginning
            raise Unreachable(f"{status.host} has another file than before") from status

    def _place(self, answer: httpx2.Response, have: int) -> int:
        """Where in the file an answer's bytes belong: behind what is here, or at its start. Remembers whose they are.

        Raises UserError for what is no model, and for another size than was told; Unreachable for bytes of any other
        place than was asked for.
        """
        host = answer.url.host
        kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind in ("text/html", "application/json", "application/xml", "text/xml"):
            raise UserError(f"{host} sent a page ({kind}) instead of the file; it may ask for a key, or to log in")
        if answer.headers.get("content-encoding", "identity").lower() != "identity":
            raise UserError(f"{host} packed the file, which nobody asked for; try again later")
        start, total = 0, _length(answer)
        if answer.status_code == 206:
            match = _RANGE.fullmatch(answer.headers.get("content-range", "").strip())
            whole = None if match is None or match[3] == "*" else int(match[3])
            is_known = self._state.total in (None, whole) or whole is None
            if match is None or int(match[1]) != have or not is_known or _ends_wrongly(match, whole, total):
                self.forget()
                raise Unreachable(f"{host} sent another part of the file than was asked for")
            start, total = have, whole or self._state.total
        self._require_size(total, host)
        etag = answer.headers.get("etag", "")
        name = disposition_name(answer.headers.get("content-disposition", "")) or self._state.name
        self._state = _State("" if etag.startswith("W/") else etag, self._expected.sha256, total, name[:500])
        self._state.write(self._beside)
        return start

    def _require_size(self, total: int | None, host: str) -> None:
        size, most = self._expected.size, self._expected.most_bytes
        if total is None:
            return
        if size is not None and abs(total - size) > SLACK_BYTES:
            raise UserError(
                f"{host} offers {total:,} bytes where {size:,} were told; try again later, or another model"
            )
        if total > most:
            raise UserError(f"the file has {total / 1e9:.1f} GB, more than --max-gb allows; raise that, if you want it")
        if size is None:
            require_space(self.part.parent, total - self._have)

    def _write(self, answer: httpx2.Response, file: BinaryIO, at: int) -> Generator[FetchEvent, None, None]:
        host, limits, total = answer.url.host, self._web.limits, self._state.total
        most = self._expected.most_bytes if total is None else total
        told = since = time.monotonic()
        mark = at
        for piece in answer.iter_raw():
            if not at and looks_like_text(piece):
                raise UserError(f"{host} sent a text instead of the file; it may ask for a key, or to log in")
            if at + len(piece) > most:
                raise UserError(f"{host} sends more than the {most:,} bytes that it told; do not trust it")
            file.write(piece)
            at += len(piece)
            now = time.monotonic()
            if now - since > limits.stall:
                if at - mark < limits.stall_bytes:
                    file.flush()
                    raise Unreachable(f"{host} sends next to nothing")
                since, mark = now, at
            if now - told > SECONDS_BETWEEN:
                told = now
                yield Progress(at, total)
        if total is not None and at < total:
            raise Unreachable(f"{host} broke off")
        yield Progress(at, total)
        self._state.total = at
        self._state.write(self._beside)


def require_space(folder: Path, size: int) -> None:
    """Raise UserError unless the disk has room for so many bytes more."""
    free = shutil.disk_usage(folder).free
    if size > 0 and size + SPARE_BYTES > free:
        raise UserError(
            f"the file needs {size / 1e9:.2f} GB more and {folder.parent} has {free / 1e9:.2f} GB free; make space, or "
            "give another folder with --models"
        )


def looks_like_text(start: bytes) -> bool:
    """Whether a file begins as a page or as JSON does; a safetensors file has a brace too, but as its ninth byte."""
    return start.lstrip(b"\xef\xbb\xbf \r\n\t")[:1] in (b"<", b"{", b"[")


def _length(answer: httpx2.Response) -> int | None:
    text = answer.headers.get("content-length", "")
    return int(text) if text.isdecimal() and len(text) < 19 else None


def _ends_wrongly(match: re.Match[str], whole: int | None, length: int | None) -> bool:
    """Whether a Content-Range contradicts itself or the answer's length, or leaves out the file's end."""
    first, last = int(match[1]), int(match[2])
    return last < first or (whole is not None and last != whole - 1) or length not in (None, last - first + 1)
