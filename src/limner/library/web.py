"""Requests to a model site, with bounds on everything that it could do: time, size, redirects, and who gets the key."""

import email.utils
import threading
import time
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import httpx2

import limner
from limner.errors import UserError
from limner.library.key import Key
from limner.library.offer import Waiting
from limner.network import SECONDS_OF_SILENCE, SECONDS_TO_CONNECT, Unreachable, require_name, why_unreachable

LOOPBACK = ("127.0.0.1", "localhost", "::1")
AGAIN = (429, 500, 502, 503, 504)  # statuses that may pass
REDIRECTS = (301, 302, 303, 307, 308)


@dataclass(frozen=True)
class Limits:
    """How long and how much. Seconds, but for the bytes. connect: until a host answers the call. silence: between two
    pieces of an answer. answer: for all of a short answer, and for any answer's head. patience: all waiting that a site
    asks for together. attempts: at what fails by itself. quick: a short answer that failed sooner is asked for once
    more. stall, stall_bytes: a download must bring so much in so long.
    """

    connect: float = SECONDS_TO_CONNECT
    silence: float = SECONDS_OF_SILENCE
    answer: float = 30.0
    quick: float = 3.0
    patience: float = 90.0
    pause: float = 1.0
    attempts: int = 4
    redirects: int = 5
    answer_bytes: int = 16 * 2**20
    stall: float = 30.0
    stall_bytes: int = 32 * 2**10


class Status(UserError):
    """An answer that is no success. after: seconds that the site asks to wait, None if it does not say."""

    def __init__(self, host: str, status: int, after: float | None, text: str = "") -> None:
        super().__init__(f"{host} answered with status {status}")
        self.host, self.status, self.after, self.text = host, status, after, text


class Web:
    """A site and the key for it. Requests that leave the site, by redirect, carry no key."""

    def __init__(self, base: str, key: Key | None = None, limits: Limits | None = None) -> None:
        """base: the site's address. Raises UserError for one that would send the key in the clear."""
        self.base = base.rstrip("/")
        self.limits = limits or Limits()
        self._url = _parse(self.base)
        self._key = key
        if self._url.scheme != "https" and not _is_loopback(self._url):
            raise UserError(f"{self.base} is not an https address; correct it")

    @property
    def has_key(self) -> bool:
        return self._key is not None

    @property
    def host(self) -> str:
        return self._url.host

    def get(self, path: str, params: list[tuple[str, str]]) -> Generator[Waiting, None, bytes]:
        """The body of a short answer, whatever it is. Raises Status, or UserError where there is none in time."""
        url = f"{self.base}{path}" + (f"?{urlencode(params)}" if params else "")
        waits = Waits(self.limits)
        began, unreached = time.monotonic(), 0
        while True:
            try:
                with self.open(url, {"Accept": "application/json", "Accept-Encoding": "gzip"}) as answer:
                    return self._body(answer)
            except (Status, Unreachable) as error:
                unreached += isinstance(error, Unreachable)
                if unreached > 1 or (unreached and time.monotonic() - began > self.limits.quick):
                    raise  # who waits for a table wants to know that there is no network
                yield waits.after(error)
                time.sleep(waits.seconds)

    @contextmanager
    def open(self, url: str, headers: Mapping[str, str]) -> Iterator[httpx2.Response]:
        """The answer at the end of the redirects, its body yet to be read. Raises Status for any other than 2xx."""
        limits = self.limits
        timeout = httpx2.Timeout(limits.silence, connect=limits.connect)
        direct = _is_loopback(self._url)  # no proxy of the environment has to do with what stays on this machine
        with httpx2.Client(timeout=timeout, follow_redirects=False, trust_env=not direct) as client:
            # Timeouts are for each piece; of a head that comes drop by drop only closing the connection gets rid.
            clock = threading.Timer(limits.answer, client.close)
            clock.daemon = True
            clock.start()
            try:
                answer = self._follow(client, url, headers)
            except RuntimeError as error:  # of a client that was closed meanwhile
                raise Unreachable(f"{self.host} is too slow; try again later") from error
            finally:
                clock.cancel()
            try:
                yield answer
            except (httpx2.TransportError, httpx2.StreamError) as error:
                raise Unreachable(f"the connection to {answer.url.host} broke ({_name(error)})") from error
            finally:
                answer.close()

    def _follow(self, client: httpx2.Client, url: str, headers: Mapping[str, str]) -> httpx2.Response:
        at = _parse(url)
        been = set()
        for _ in range(self.limits.redirects + 1):
            self._require_safe(at)
            if str(at) in been:
                break
            been.add(str(at))
            own = {"User-Agent": f"limner/{limner.__version__}"} | dict(headers)
            if self._key is not None and _origin(at) == _origin(self._url):
                own |= self._key.header()
            if not _is_loopback(at):
                require_name(at.host)
            try:
                answer = client.send(client.build_request("GET", at, headers=own), stream=True)
            except (httpx2.TransportError, httpx2.InvalidURL) as error:
                raise why_unreachable(at.host, error) from error
            if answer.status_code not in REDIRECTS:
                return self._require_success(answer)
            target = answer.headers.get("location", "")
            answer.close()
            try:
                at = at.join(target)
            except (httpx2.InvalidURL, ValueError) as error:
                raise UserError(f"{at.host} redirects to what is no address; try again later") from error
        raise UserError(f"{self.host} redirects in a circle, or too often; try again later")

    def _require_safe(self, url: httpx2.URL) -> None:
        """Raise UserError for an address that is not https, unless the site itself is on this machine."""
        if url.scheme == "https" and url.host and not _is_loopback(url):
            return
        if not (_is_loopback(self._url) and _is_loopback(url) and url.scheme in ("http", "https")):
            what = f"{url.scheme or 'no'}:// at {url.host or 'no host'}"
            raise UserError(f"{self.host} redirects to {what}, which is not followed; try again later")

    def _require_success(self, answer: httpx2.Response) -> httpx2.Response:
        if answer.is_success:
            return answer
        try:
            text = self._body(answer)[:2000].decode("utf-8", "replace")
        except (UserError, httpx2.TransportError):
            text = ""
        finally:
            answer.close()
        raise Status(answer.url.host, answer.status_code, _after(answer.headers.get("retry-after")), text)

    def _body(self, answer: httpx2.Response) -> bytes:
        """A short answer's body, unpacked by no more than it may have. Raises UserError if it is too long or slow."""
        deadline = time.monotonic() + self.limits.answer
        host, most = answer.url.host, self.limits.answer_bytes
        encoding = answer.headers.get("content-encoding", "identity").lower()
        if encoding not in ("identity", "gzip", "x-gzip"):
            raise UserError(f"{host} answered in an encoding that nobody asked for, {encoding[:20]!r}; try again later")
        unpack = None if encoding == "identity" else zlib.decompressobj(16 + zlib.MAX_WBITS)
        body = bytearray()
        for piece in answer.iter_raw():
            try:
                body += piece if unpack is None else unpack.decompress(piece, most + 1 - len(body))
            except zlib.error as error:
                raise Unreachable(f"{host} answered with a damaged body; try again later") from error
            if len(body) > most:
                raise UserError(f"{host} answered with more than {most:,} bytes; try again later")
            if time.monotonic() > deadline:
                raise Unreachable(f"{host} is too slow; try again later")
        if unpack is not None and not unpack.eof:
            raise Unreachable(f"{host} broke off its answer; try again later")
        return bytes(body)


class Waits:
    """How long to wait after which error: as long as the site says, else twice as long each time, and not forever."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._waited = 0.0
        self._failed = 0
        self.seconds = 0.0

    def reset(self) -> None:
        """There was progress: the next failure counts as the first."""
        self._failed = 0

    def after(self, error: Status | Unreachable) -> Waiting:
        """The next wait. Raises the error where waiting is of no use, or took long enough."""
        if isinstance(error, Status) and error.status not in AGAIN:
            raise error
        self._failed += 1
        if self._failed >= self._limits.attempts:
            raise error
        asked = error.after if isinstance(error, Status) else None
        self.seconds = self._limits.pause * 2 ** (self._failed - 1) if asked is None else asked
        self._waited += self.seconds
        if self._waited > self._limits.patience:
            if asked is None or not isinstance(error, Status):
                raise error
            raise UserError(f"{error.host} has had enough requests; try again in {round(asked)} s") from error
        host = error.host if isinstance(error, Status) else ""
        return Waiting(host, self.seconds, str(error))


def _after(text: str | None) -> float | None:
    """Seconds of a Retry-After, which is a number or a date."""
    if text is None:
        return None
    if text.strip().isdecimal():
        return float(text.strip()[:9])
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


def _parse(url: str) -> httpx2.URL:
    try:
        return httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError) as error:
        raise UserError(f"{url[:80]!r} is no address; correct it") from error


def _origin(url: httpx2.URL) -> tuple[Any, ...]:
    return url.scheme, url.host, url.port


def _is_loopback(url: httpx2.URL) -> bool:
    return url.host in LOOPBACK


def _name(error: Exception) -> str:
    """What kind of error it is; its own text could hold an address with a signature."""
    return type(error).__name__
