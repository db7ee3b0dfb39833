"""Requests over real HTTP: who gets the key, how long is waited, how much is taken."""

import email.utils
import gzip
import logging
import pickle
import time
import traceback
from collections.abc import Callable, Generator
from typing import Any

import pytest
from site_here import QUICK, Site

from limner.errors import UserError
from limner.library.key import Key, find_key
from limner.library.offer import Waiting
from limner.library.web import Limits, Status, Unreachable, Web

SECRET = "sk-0123456789abcdef-topsecret"


def run(events: Generator[Waiting, None, Any]) -> tuple[Any, list[Waiting]]:
    """What a generator returns, and what it said on the way."""
    waits = []
    while True:
        try:
            waits.append(next(events))
        except StopIteration as end:
            return end.value, waits


def get(site: Site, path: str = "/x", key: Key | None = None, limits: Limits = QUICK) -> tuple[bytes, list[Waiting]]:
    return run(Web(site.url, key, limits).get(path, []))


def test_the_key_is_sent_to_the_site_and_to_no_other(
    sites: Callable[..., Site], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    site, other, again = sites(), sites("localhost"), sites()
    site.answer("/x", b"", 302, Location=f"{other.url}/y?signature=abc")
    other.answer("/y", b"", 307, Location=f"{again.url}/z")  # the first host's name, on another port
    again.answer("/z", {"fine": True})
    assert get(site, key=Key(SECRET, "test"))[0] == b'{"fine": true}'
    assert site.asked[0].headers["Authorization"] == f"Bearer {SECRET}"
    assert "Authorization" not in other.asked[0].headers
    assert "Authorization" not in again.asked[0].headers
    assert not any(SECRET in str(asked.headers) + asked.path + str(asked.query) for asked in other.asked + again.asked)
    assert SECRET not in caplog.text


def test_the_key_is_in_no_text(site: Site, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    caplog.set_level(logging.DEBUG)
    key = Key(SECRET, "test")
    site.answer("/x", {"error": "no"}, 401)
    texts = [repr(key), str(key), f"{key}"]
    try:
        get(site, key=key)
    except Status as error:
        texts += [
            str(error),
            repr(error),
            *traceback.format_exception(error),
            *traceback.format_exception(error, chain=True),
        ]
    for wrong in (f"{SECRET} with a space", f"{SECRET}\r\nHost: evil"):
        with pytest.raises(UserError) as caught:
            find_key({"CIVITAI_API_KEY": wrong})
        texts.append(str(caught.value))
    with pytest.raises(TypeError):
        pickle.dumps(key)
    assert len(texts) > 5
    told = capfd.readouterr()
    assert SECRET not in "".join(texts) + caplog.text + told.out + told.err


def test_where_a_key_is_found(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_key({}) is None
    for name in ("CIVITAI_API_KEY", "CIVITAI_API_TOKEN", "CIVITAI_TOKEN"):
        key = find_key({name: f" {SECRET} "})
        assert key is not None
        assert key.header() == {"Authorization": f"Bearer {SECRET}"}
    (tmp_path / "keyring.py").write_text(
        "def get_password(service, user):\n    return {('limner', 'civitai'): 'from-the-ring'}.get((service, user))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    key = find_key({})
    assert key is not None
    assert key.header() == {"Authorization": "Bearer from-the-ring"}
    (tmp_path / "keyring.py").write_text("def get_password(service, user):\n    raise OSError('locked')\n")
    monkeypatch.delitem(__import__("sys").modules, "keyring")
    assert find_key({}) is None


def test_no_proxy_gets_what_stays_on_this_machine(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    site.answer("/x", {"fine": True})
    assert get(site, key=Key(SECRET, "test"))[0] == b'{"fine": true}'


def test_no_address_that_is_not_https_but_this_machines() -> None:
    for url in ("http://civitai.com", "ftp://civitai.com", "civitai.com", "file:///etc/passwd", "http://[::1", ""):
        with pytest.raises(UserError):
            Web(url)


def _redirected(target: str) -> None:
    site = Site()
    try:
        site.answer("/x", b"", 302, Location=target)
        get(site)
    finally:
        site.close()


@pytest.mark.parametrize(
    "target", ["http://example.org/x", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://127.0.0.2/"]
)
def test_redirects_to_what_is_not_https_are_not_followed(target: str) -> None:
    with pytest.raises(UserError, match="not followed"):
        _redirected(target)


def test_a_redirect_to_nothing() -> None:
    for target in ("http://[", ""):
        with pytest.raises(UserError):
            _redirected(target)


def test_redirects_in_a_circle_and_too_many(sites: Callable[..., Site]) -> None:
    site, other = sites(), sites("localhost")
    site.answer("/x", b"", 302, Location=f"{other.url}/y")
    other.answer("/y", b"", 302, Location=f"{site.url}/x")
    with pytest.raises(UserError, match="circle"):
        get(site)
    assert len(site.asked) + len(other.asked) <= QUICK.redirects + 1
    for number in range(30):
        site.answer(f"/{number}", b"", 302, Location=f"/{number + 1}")
    with pytest.raises(UserError, match="circle"):
        get(site, "/0")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("when", ["seconds", "date", "none"])
def test_a_site_that_asks_to_wait_is_waited_for(site: Site, status: int, when: str) -> None:
    after = {"seconds": "0", "date": email.utils.formatdate(time.time() + 1, usegmt=True), "none": None}[when]
    headers = {} if after is None else {"Retry_After": after}
    site.in_turn("/x", lambda it: it.reply(status, b"", **headers), lambda it: it.reply(200, {"a": 1}))
    body, waits = get(site)
    assert body == b'{"a": 1}'
    assert [wait.host for wait in waits] == ["127.0.0.1"]
    assert str(status) in waits[0].reason
    assert len(site.asked) == 2


def test_waiting_has_an_end(site: Site) -> None:
    site.answer("/x", b"", 429, Retry_After="86400")
    began = time.monotonic()
    with pytest.raises(UserError, match="try again in 86400 s"):
        get(site)
    site.answer("/y", b"", 503)
    with pytest.raises(Status):
        get(site, "/y")
    assert len(site.asked) == 1 + QUICK.attempts
    for nonsense in ("-5", "soon", "9" * 400, "Mon, 99 Foo 2026"):
        site.answer("/z", b"", 503, Retry_After=nonsense)
        with pytest.raises(UserError):
            get(site, "/z")
    assert time.monotonic() - began < 3


def test_what_will_not_pass_is_not_asked_again(site: Site) -> None:
    for status in (400, 401, 403, 404, 410, 418):
        site.asked.clear()
        site.answer("/x", {"error": "no"}, status)
        with pytest.raises(Status) as caught:
            get(site)
        assert caught.value.status == status
        assert len(site.asked) == 1


def test_packed_answers_and_bombs(site: Site) -> None:
    text = b'{"a": "' + b"x" * 50_000 + b'"}'
    site.answer("/x", gzip.compress(text), Content_Encoding="gzip")
    assert get(site)[0] == text
    assert site.asked[0].headers["Accept-Encoding"] == "gzip"
    bomb = gzip.compress(b"\0" * 100_000_000, 9)
    site.answer("/bomb", bomb, Content_Encoding="gzip")
    began = time.monotonic()
    with pytest.raises(UserError, match="more than 200,000 bytes"):
        get(site, "/bomb")
    assert time.monotonic() - began < 1
    site.answer("/large", b"x" * 200_001)
    with pytest.raises(UserError, match="more than"):
        get(site, "/large")
    for body, encoding in ((b"not gzip", "gzip"), (gzip.compress(text)[:-20], "gzip")):
        site.answer("/damaged", body, Content_Encoding=encoding)
        with pytest.raises(Unreachable):
            get(site, "/damaged")
    site.answer("/other", text, Content_Encoding="br")
    with pytest.raises(UserError, match="encoding"):
        get(site, "/other")


def test_slow_drips_end(site: Site) -> None:
    limits = Limits(silence=0.5, answer=0.6, attempts=1)
    site.routes["/body"] = lambda it: it.drip(200, b"x" * 1000, 0.05)

    def head(request: Any) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"y" * 1000:
            request.wfile.write(bytes([byte]))
            request.wfile.flush()
            time.sleep(0.05)

    def silent(request: Any) -> None:
        time.sleep(3)

    site.routes["/head"] = head
    site.routes["/silent"] = silent
    for path in ("/body", "/head", "/silent"):
        began = time.monotonic()
        with pytest.raises(Unreachable):
            get(site, path, limits=limits)
        assert time.monotonic() - began < 2.5, path


def test_answers_that_break_off_are_asked_for_again(site: Site) -> None:
    def broken(request: Any) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "100")
        request.end_headers()
        request.wfile.write(b"half")
        request.close_connection = True

    site.in_turn("/x", broken, lambda it: it.reply(200, {"a": 1}))
    body, waits = get(site)
    assert (body, len(waits)) == (b'{"a": 1}', 1)

    def rubbish(request: Any) -> None:
        request.wfile.write(b"\x00\x01\x02 this is not HTTP\r\n\r\n")
        request.close_connection = True

    site.routes["/y"] = rubbish
    with pytest.raises(Unreachable, match="did not answer as it should"):
        get(site, "/y")


def test_nobody_there() -> None:
    site = Site()
    site.close()
    with pytest.raises(Unreachable, match="cannot reach 127"):
        get(site)
