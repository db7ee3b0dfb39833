"""Who may ask: the page itself and programs on this machine, or whoever has the password."""

import base64
import hmac
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADERS = {
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'self'; object-src 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
USER = "limner"


@dataclass(frozen=True)
class Guard:
    """hosts: names by which the server may be called, None for any. password: "" for none."""

    hosts: tuple[str, ...] | None = LOOPBACK
    password: str = ""

    def middleware(self, app: ASGIApp) -> ASGIApp:
        return _Guarded(app, self)

    def refusal(self, method: str, headers: dict[str, str]) -> tuple[int, str] | None:
        """Status and sentence if a request is turned away. headers: by lower-case names."""
        host = headers.get("host", "")
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if self.hosts is not None and name.lower() not in self.hosts:
            return 421, f"this server is not {name!r}; call it by {self.hosts[0]}"
        origin = headers.get("origin")
        if origin is not None and origin.split("://")[-1] != host:
            return 403, f"a page of {origin} may not ask; open the studio's own page"
        if origin is None and method not in ("GET", "HEAD") and headers.get("sec-fetch-site", "none") == "cross-site":
            return 403, "a page from elsewhere may not ask; open the studio's own page"
        if self.password and not self._knows(headers.get("authorization", "")):
            return 401, "the password is missing or wrong"
        return None

    def _knows(self, authorization: str) -> bool:
        scheme, _, told = authorization.partition(" ")
        try:
            given = base64.b64decode(told, validate=True)
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

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message = {**message, "headers": [*message.get("headers", []), *own]}
            await send(message)

        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self.guard.refusal(scope["method"], headers)
        if refusal is not None:
            await _refuse(*refusal, send_with_headers)
            return
        await self.app(scope, receive, send_with_headers)


async def _refuse(status: int, sentence: str, send: Send) -> None:
    import json

    headers: list[Any] = [(b"content-type", b"application/json")]
    if status == 401:
        headers.append((b"www-authenticate", b'Basic realm="limner"'))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps({"detail": sentence}).encode()})
