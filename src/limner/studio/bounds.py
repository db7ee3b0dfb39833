"""How much may be asked at once, and how slowly: whoever sends too much or too little is told, and others are served.

How large a request may be is said where routes are declared (max_body_size), and for all others in app.py.
"""

import asyncio
import time
from typing import Any

import h11
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from limner.studio.answers import Refusal, answer, too_large

MOST_CONNECTIONS = 700  # a process may commonly have 1024 files open
MOST_IDLE = 200  # connections on which nothing is being asked; then the one that has been idle longest is closed
MOST_REQUESTS = 400  # that are being answered
MOST_STREAMS = 200  # of them that never end by themselves: news of jobs
MOST_HEADER_BYTES = 32 * 1024
SECONDS_FOR_HEADERS = 15.0
SECONDS_FOR_BODY = 20.0  # and one more for every SLOWEST bytes that have come
SLOWEST = 4096
# Of a body that is refused for its size the rest is taken in and thrown away, for most clients only read the answer
# when they have sent everything.
MOST_WASTED_BYTES = 256 * 1024**2
MOST_WASTED_SECONDS = 10.0
BODILESS = ("GET", "HEAD", "DELETE", "OPTIONS")


class Bounds:
    """Around the application: counts what is being answered, and watches how bodies come in."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.requests = 0
        self.streams = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        is_stream = scope["path"].endswith("/events")
        if (refusal := self._refusal(scope, is_stream)) is not None:
            await answer(refusal, scope, send)
            return
        self.requests += 1
        self.streams += is_stream
        try:
            body = _Body(scope, receive, send)
            await self.app(scope, body.receive, body.send)
        finally:
            self.requests -= 1
            self.streams -= is_stream

    def _refusal(self, scope: Scope, is_stream: bool) -> Refusal | None:
        headers = dict(scope["headers"])
        if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_HEADER_BYTES:
            return Refusal(431, "the request's headers are too large")
        has_body = b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"
        if scope["method"] in BODILESS and has_body:
            return Refusal(413, f"a {scope['method']} request takes no body")
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            return Refusal(400, "an address holds no zero bytes")
        if self.requests >= MOST_REQUESTS or (is_stream and self.streams >= MOST_STREAMS):
            return Refusal(503, "too much is being asked at once; try again in a moment", {"retry-after": "2"})
        return None


class _Body:
    """A request's body as it comes in: in time, else the request ends with 408; and what is said if it is too large."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope, self._receive, self._send = scope, receive, send
        self._is_refused = False
        self._began: float | None = None
        self._bytes = 0
        self._is_whole = False

    async def receive(self) -> Message:
        if self._is_whole:
            return await self._receive()
        now = time.monotonic()
        self._began = self._began or now
        left = self._began + SECONDS_FOR_BODY + self._bytes / SLOWEST - now
        try:
            message = await asyncio.wait_for(self._receive(), max(left, 0.001))
        except TimeoutError:
            self._is_whole = True
            raise HTTPException(408, "the request came too slowly; send it again", {"connection": "close"}) from None
        self._bytes += len(message.get("body", b""))
        self._is_whole = message["type"] != "http.request" or not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        if self._is_refused:
            return
        if message["type"] == "http.response.start" and message["status"] == 413:
            await self._waste()
            if dict(message.get("headers", [])).get(b"content-type") != b"application/json":  # starlette's own words
                self._is_refused = True
                await answer(Refusal(413, too_large(self._scope)), self._scope, self._send)
                return
        await self._send(message)

    async def _waste(self) -> None:
        until, most = time.monotonic() + MOST_WASTED_SECONDS, self._bytes + MOST_WASTED_BYTES
        while not self._is_whole and self._bytes < most and (left := until - time.monotonic()) > 0:
            try:
                message = await asyncio.wait_for(self._receive(), left)
            except TimeoutError:
                return
            self._bytes += len(message.get("body", b""))
            self._is_whole = message["type"] != "http.request" or not message.get("more_body", False)


class Connection(H11Protocol):
    """uvicorn's, which waits for ever for a request's headers, however many wait; this one does neither.

    Whoever opens connections and asks nothing, or a little of a request at a time, so shuts nobody out: each new
    connection takes the place of the one that has been idle longest.
    """

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._patience: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)  # type: ignore[arg-type]
        self._wait()
        self._patience = self.loop.call_later(SECONDS_FOR_HEADERS, self.transport.close)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._idle_since = None
            self._stop_waiting()
        elif self._patience is None:
            self._patience = self.loop.call_later(SECONDS_FOR_HEADERS, self.transport.close)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._idle_since = self.loop.time()
        idle = [each for each in self.connections if isinstance(each, Connection) and each._idle_since is not None]
        if len(idle) > MOST_IDLE:
            oldest = min(idle, key=lambda each: each._idle_since or 0.0)
            oldest._idle_since = None  # it is gone only when the loop has come round
            oldest.transport.close()

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
