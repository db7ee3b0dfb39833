"""`limner studio`: checks what it is told, then serves until it is stopped."""

import os
import socket
import threading
import webbrowser
from collections.abc import Callable

import uvicorn

from limner.config import StudioSettings
from limner.errors import UserError
from limner.files import locked
from limner.studio.app import make_app
from limner.studio.bounds import MOST_CONNECTIONS, MOST_HEADER_BYTES, Connection
from limner.studio.guard import LOOPBACK, Guard
from limner.studio.places import Places

SECONDS_FOR_ANSWERS = 2  # that are under way when the server closes; streams of news never end by themselves
PASSWORD = "LIMNER_PASSWORD"
LEAST_PASSWORD = 8  # characters, where others can try
LOOPBACK_ADDRESSES = ("127.0.0.1", "localhost", "::1")


def serve(settings: StudioSettings, tell: Callable[[str], None]) -> None:
    """Serve until an interrupt. tell: is given the page's address once the port is open. Raises UserError."""
    password = os.environ.get(PASSWORD, "")
    _check_password(settings.host, password)
    is_open = settings.host not in LOOPBACK_ADDRESSES
    places = Places(settings.folder.absolute(), settings.models.absolute())
    places.models.mkdir(parents=True, exist_ok=True)
    guard = Guard(None if is_open else LOOPBACK, password)
    with locked(places.root), _socket(settings) as listening:
        host, port = listening.getsockname()[:2]
        shown = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        address = f"http://{shown}:{port}/"
        tell(address)
        if not settings.no_browser:
            threading.Timer(1.0, webbrowser.open, [address]).start()
        config = uvicorn.Config(
            make_app(places, guard),
            http=Connection,
            limit_concurrency=MOST_CONNECTIONS,
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
            log_level="warning",
            access_log=False,
            server_header=False,
            ws="none",
            proxy_headers=False,  # whoever asks could write there any address that it likes
            timeout_graceful_shutdown=SECONDS_FOR_ANSWERS,
        )
        uvicorn.Server(config).run(sockets=[listening])


def _check_password(host: str, password: str) -> None:
    """Raises UserError if others could come in too easily."""
    if host in LOOPBACK_ADDRESSES:
        return
    if not password:
        raise UserError(f"{host} can be reached by others, so a password is needed: set ${PASSWORD} and start again")
    if len(password) < LEAST_PASSWORD:
        raise UserError(
            f"${PASSWORD} is too short for a server that others can reach; use {LEAST_PASSWORD} characters or more"
        )


def _socket(settings: StudioSettings) -> socket.socket:
    try:
        family = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0][0]
        # The protocol is named, for asyncio lets small answers wait for no acknowledgement (TCP_NODELAY) only then:
        # head and body go out as two pieces, and the second would come 40 ms later.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((settings.host, settings.port))
        return listening
    except OSError as error:
        raise UserError(
            f"cannot listen at {settings.host} port {settings.port}: {error.strerror}; "
            "choose another with --port, or 0 for any that is free"
        ) from error
