"""A model site on this machine: real HTTP with answers of the documented shape, and whatever else a site may do."""

import hashlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from limner.library.web import Limits

QUICK = Limits(
    connect=5, silence=1.0, answer=1.5, patience=5, pause=0.01, attempts=3, stall=0.3, stall_bytes=1000,
    answer_bytes=200_000,
)  # fmt: skip
Route = Callable[["Handler"], None]


@dataclass
class Asked:
    path: str
    query: list[tuple[str, str]]
    headers: Message


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: "Site"

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self.site.asked.append(Asked(parts.path, parse_qsl(parts.query), self.headers))
        route = self.site.routes.get(parts.path)
        try:
            if route is None:
                self.reply(404, {"error": "Model not found"})
            else:
                route(self)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    do_HEAD = do_GET

    def reply(self, status: int, body: object = b"", **headers: str) -> None:
        """An answer; whatever is no bytes as JSON. Underscores in names of headers stand for hyphens."""
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers.setdefault("Content_Type", "application/json")
        headers.setdefault("Content_Length", str(len(body)))
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def drip(self, status: int, body: bytes, seconds: float, **headers: str) -> None:
        """One byte after the other."""
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        for byte in body:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(seconds)

    def log_message(self, *_: Any) -> None: ...


@dataclass
class Site:
    """A server with routes by path; what was asked is written down."""

    host: str = "127.0.0.1"
    routes: dict[str, Route] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Own", (Handler,), {"site": self}))
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign] # clients that hang up are expected
        self._thread = threading.Thread(target=lambda: self._server.serve_forever(poll_interval=0.01), daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self._server.server_address[1]}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str, body: object, status: int = 200, **headers: str) -> None:
        self.routes[path] = lambda request: request.reply(status, body, **headers)

    def in_turn(self, path: str, *routes: Route) -> None:
        """A route that does another thing each time, at last the same."""
        left = list(routes)
        self.routes[path] = lambda request: (left.pop(0) if len(left) > 1 else left[0])(request)


def serve(body: bytes, etag: str = '"one"', honours: bool = True, **headers: str) -> Route:
    """A file, in ranges if it is asked so, and as a site with storage behind it does."""

    def route(request: Handler) -> None:
        told = headers | {"Content_Type": "application/octet-stream"} | ({"ETag": etag} if etag else {})
        span = request.headers.get("Range", "")
        same = request.headers.get("If-Range") in (None, etag)
        if not (honours and span and same):
            request.reply(200, body, **told)
            return
        start = int(span.removeprefix("bytes=").rstrip("-"))
        if start >= len(body):
            request.reply(416, b"", Content_Range=f"bytes */{len(body)}")
            return
        request.reply(206, body[start:], Content_Range=f"bytes {start}-{len(body) - 1}/{len(body)}", **told)

    return route


def cut(body: bytes, at: int, etag: str = '"one"') -> Route:
    """A file that breaks off in the middle."""

    def route(request: Handler) -> None:
        request.send_response(200)
        for name, value in (
            ("Content-Length", str(len(body))),
            ("ETag", etag),
            ("Content-Type", "binary/octet-stream"),
        ):
            request.send_header(name, value)
        request.end_headers()
        request.wfile.write(body[:at])
        request.close_connection = True

    return route


def version(site: Site, body: bytes, id: int = 22, name: str = "ink_wash.safetensors", **file: Any) -> dict[str, Any]:
    """A model's version as Civitai describes it; `file` changes what it says of its one file."""
    digest = hashlib.sha256(body).hexdigest().upper()
    described = {
        "id": 333,
        "sizeKB": len(body) / 1024,
        "name": name,
        "type": "Model",
        "pickleScanResult": "Success",
        "pickleScanMessage": "No Pickle imports",
        "virusScanResult": "Success",
        "virusScanMessage": None,
        "scannedAt": "2026-01-02T03:04:05.000Z",
        "metadata": {"format": "SafeTensor", "size": None, "fp": "fp16"},
        "hashes": {"AutoV1": "0F1E2D3C", "AutoV2": digest[:10], "SHA256": digest, "CRC32": "00000000"},
        "primary": True,
        "downloadUrl": f"{site.url}/api/download/models/{id}",
    } | file
    return {
        "id": id,
        "modelId": 11,
        "name": "v2.0",
        "baseModel": "SD 1.5",
        "baseModelType": "Standard",
        "publishedAt": "2026-01-02T03:04:05.000Z",
        "status": "Published",
        "availability": "Public",
        "trainedWords": ["inkw", "ink wash style"],
        "stats": {"downloadCount": 12, "thumbsUpCount": 3},
        "model": {"name": "Ink Wash", "type": "LORA", "nsfw": False, "poi": False},
        "files": [described],
        "images": [],
        "downloadUrl": f"{site.url}/api/download/models/{id}",
    }


def model(*versions: dict[str, Any], id: int = 11, **more: Any) -> dict[str, Any]:
    """An item of a search at Civitai."""
    return {
        "id": id,
        "name": "Ink Wash",
        "description": "<p>A style.</p>",
        "type": "LORA",
        "nsfw": False,
        "tags": ["style", "ink"],
        "creator": {"username": "maker", "image": None},
        "stats": {"downloadCount": 1234, "thumbsUpCount": 56, "commentCount": 7},
        "modelVersions": [{key: value for key, value in each.items() if key != "model"} for each in versions],
    } | more
