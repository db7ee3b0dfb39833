"""What all requests to the internet have in common: soon given up where nobody answers, and with a sentence.

Nothing here asks anybody by itself. `once_only` has the hub's own client, which otherwise tries for half a minute and
prints each attempt, ask once.
"""

import functools
import socket
import threading
from typing import Any
from urllib.request import getproxies, proxy_bypass

from limner.errors import UserError

SECONDS_FOR_NAME = 5.0  # until an address is found
SECONDS_TO_CONNECT = 5.0
SECONDS_OF_SILENCE = 15.0  # of a host that took the call
BUSY = (408, 429, 500, 502, 503, 504)  # statuses that the hub's client would try again


class Unreachable(UserError):
    """No answer, or half of one."""


def require_name(host: str) -> None:
    """Raise Unreachable unless the host's address is found in time; a proxy finds it by itself.

    The system's own search has no time limit and can take half a minute on a machine without a network.
    """
    if any(name in ("http", "https", "all") for name in getproxies()) and not proxy_bypass(host):
        return
    failed: list[OSError] = []

    def find() -> None:
        try:
            socket.getaddrinfo(host, 443)
        except OSError as error:
            failed.append(error)

    looking = threading.Thread(target=find, daemon=True)
    looking.start()
    looking.join(SECONDS_FOR_NAME)
    if looking.is_alive() or failed:
        raise Unreachable(f"cannot reach {host}: its address is not found; check the internet connection")


def why_unreachable(host: str, error: Exception) -> Unreachable:
    """What httpx2's error means to a person. Its own text could hold an address with a signature."""
    import httpx2

    text = " ".join(str(each) for each in (error, error.__cause__, error.__context__) if each is not None).lower()
    if isinstance(error, httpx2.ProxyError):
        what = "the proxy that HTTPS_PROXY or HTTP_PROXY names does not let it through; correct or unset the variable"
    elif "certificate" in text or "ssl" in text or "tls" in text:
        what = "its certificate cannot be checked; look at the clock, and at a proxy or virus scanner in between"
    elif isinstance(error, httpx2.TimeoutException):
        what = "it does not answer; check the internet connection, or try again later"
    elif any(words in text for words in ("name or service", "getaddrinfo", "name resolution", "nodename")):
        what = "its address is not found; check the internet connection"
    elif "refused" in text:
        what = "it refuses connections; check the internet connection and the firewall, or try again later"
    elif isinstance(error, httpx2.ConnectError):
        what = "there is no connection; check the internet connection, or try again later"
    else:
        return Unreachable(f"{host} did not answer as it should ({type(error).__name__}); try again later")
    return Unreachable(f"cannot reach {host}: {what}")


@functools.cache
def once_only() -> None:
    """Have the hub's client ask once, with bounds on time. What it cannot reach is Unreachable."""
    import httpx2
    from huggingface_hub import constants, set_client_factory
    from huggingface_hub.utils._http import hf_request_event_hook  # the hub's marks on requests; it has no other name

    class Once(httpx2.Client):
        def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
            host = request.url.host
            if host not in ("127.0.0.1", "localhost", "::1") and not constants.HF_HUB_OFFLINE:
                require_name(host)
            try:
                answer = super().send(request, **options)
            except httpx2.TransportError as error:
                raise why_unreachable(host, error) from error
            if answer.status_code in BUSY:
                answer.close()
                raise UserError(f"{host} answered with status {answer.status_code}; try again later")
            return answer

    timeout = httpx2.Timeout(SECONDS_OF_SILENCE, connect=SECONDS_TO_CONNECT)
    hooks = {"request": [hf_request_event_hook]}
    set_client_factory(lambda: Once(event_hooks=hooks, follow_redirects=True, timeout=timeout))
