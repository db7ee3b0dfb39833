"""Who may ask: the page itself and programs on this machine, or whoever has the password."""

import base64
import hmac
import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from limner.studio.answers import Refusal, answer

HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
# Nobody keeps what the server tells; a browser may keep the page's files if it asks each time whether they changed.
PRIVATE, CHECKED = "no-store", "no-cache"
ONCE = ("host", "origin", "authorization", "sec-fetch-site")  # proxies and servers may disagree which of two counts
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
USER = "limner"
DEFAULT_PORTS = {"http": 80, "https": 443}


class Attempts:
    """Wrong passwords by address: after so many in a minute, an address has to wait."""

    MOST, SECONDS, ADDRESSES = 10, 60.0, 1000

    def __init__(self) -> None:
        self._failed: OrderedDict[str, list[float]] = OrderedDict()

    def wait(self, address: str) -> int:
        """Seconds until an address may try again, 0 if it may now."""
        now = time.monotonic()
        recent = [moment for moment in self._failed.get(_network(address), []) if now - moment < self.SECONDS]
        return math.ceil(self.SECONDS - (now - recent[-self.MOST])) if len(recent) >= self.MOST else 0

    def failed(self, address: str) -> None:
        moments = self._failed.setdefault(_network(address), [])
        moments.append(time.monotonic())
        del moments[: -self.MOST]
        self._failed.move_to_end(_network(address))
        while len(self._failed) > self.ADDRESSES:
            self._failed.popitem(last=False)


@dataclass(frozen=True)
class Guard:
    """hosts: names by which the server may be called, None for any. password: "" for none."""

    hosts: tuple[str, ...] | None = LOOPBACK
    password: str = ""
    attempts: Attempts = field(default_factory=Attempts)

    def middleware(self, app: ASGIApp) -> ASGIApp:
        return _Guarded(app, self)

    def refusal(self, method: str, headers: Mapping[str, str], address: str = "") -> Refusal | None:
        """Why a request is turned away, if it is. headers: by lower-case names. address: the client's.

        A page of another site may point its own name at this machine (DNS rebinding), so the name must be one of ours;
        and it may send requests here through its visitor's browser, which says whose page asks: Origin, Sec-Fetch-Site.
        """
        host = headers.get("host", "").lower()
        name, _ = _name_and_port(f"http://{host}")
        if not name:
            return Refusal(400, "the request does not say which server it means (Host)")
        if self.hosts is not None and name not in self.hosts:
            return Refusal(421, f"this server is not called that; call it by {self.hosts[0]}")
        if (origin := headers.get("origin")) is not None:
            scheme = origin.lower().partition("://")[0]
            if scheme not in DEFAULT_PORTS or _name_and_port(origin.lower()) != _name_and_port(f"{scheme}://{host}"):
                return Refusal(403, "a page from elsewhere may not ask; open the studio's own page")
        is_visit = method in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
        is_framed = headers.get("sec-fetch-dest", "document") != "document"
        if headers.get("sec-fetch-site", "none") in ("cross-site", "same-site") and (is_framed or not is_visit):
            return Refusal(403, "a page from elsewhere may not ask; open the studio's own page")
        return self._unknown(headers.get("authorization", ""), address) if self.password else None

    def _unknown(self, authorization: str, address: str) -> Refusal | None:
        """A refusal unless the password is right; an address that guesses is made to wait, right or wrong."""
        known = {"www-authenticate": f'Basic realm="{USER}", charset="UTF-8"'}
        if not authorization:
            return Refusal(401, f"a password is needed; the user is {USER}", known)
        if seconds := self.attempts.wait(address):
            sentence = f"too many wrong passwords came from this address; wait {seconds} s"
            return Refusal(429, sentence, {"retry-after": str(seconds)})
        if not self._knows(authorization):
            self.attempts.failed(address)
            return Refusal(401, f"the password is wrong; the user is {USER}", known)
        return None

    def _knows(self, authorization: str) -> bool:
        scheme, _, told = authorization.partition(" ")
        try:
            given = base64.b64decode(told.strip(), validate=True)
        except ValueError:
            return False
        return scheme.lower() == "basic" and hmac.compare_digest(given, f"{USER}:{self.password}".encode())


class _Guarded:
    def __init__(self, app: ASGIApp, guard: Guard) -> None:
        self.app, self.guard = app, guard

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self.app(scope, receive, send)
            return
        own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        kept = CHECKED if _is_page(scope["path"]) else PRIVATE

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                told = {name.lower() for name, _ in message.get("headers", [])}  # a stricter policy of the route's own
                headers = [*message.get("headers", []), *(each for each in own if each[0] not in told)]
                if all(name.lower() != b"cache-control" for name, _ in headers):
                    headers.append((b"cache-control", kept.encode()))
                message = {**message, "headers": headers}
            await send(message)

        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]]
        if any(sum(known == name for known, _ in headers) > 1 for name in ONCE):
            refusal: Refusal | None = Refusal(400, "a header that may be given once is given twice")
        else:
            refusal = self.guard.refusal(scope["method"], dict(headers), (scope.get("client") or [""])[0])
        if refusal is not None:
            await answer(refusal, scope, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)


def _name_and_port(address: str) -> tuple[str, int | None]:
    """Of SCHEME://NAME[:PORT]; an IPv6 address in its brackets. ("", None) if it is none."""
    try:
        parts = urlsplit(address)
        port = parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return "", None
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc or not parts.hostname:
        return "", None
    return f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname, port


def _is_page(path: str) -> bool:
    return not path.startswith(("/api/", "/sdapi/"))


def _network(address: str) -> str:
    """Whose an address is: of IPv6, where one machine has very many, the network."""
    try:
        known = ipaddress.ip_address(address)
    except ValueError:
        return address
    return str(ipaddress.ip_network((known, 64), strict=False)) if known.version == 6 else address
