"""Who may ask the studio, and how: by name, by page, by password, and in words that give nothing away."""

import base64
from collections.abc import Callable

import pytest
from studio.served import Served

from limner.studio.guard import Attempts, Guard

PASSWORD = "correct horse"
HERE = {"host": "127.0.0.1:7860"}


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:7860", None),
        ("localhost", None),
        ("LocalHost:7860", None),
        ("[::1]:7860", None),
        ("[::1]", None),
        ("evil.example:7860", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:7860", 421),
        ("127.0.0.1:7860@evil.example", 400),
        ("localhost/../evil", 400),
        ("[::1", 400),
        ("localhost:port", 400),
        ("192.168.1.2:7860", 421),
        ("", 400),
    ],
)
def test_only_its_own_names(host: str, status: int | None) -> None:
    refusal = Guard().refusal("GET", {"host": host})
    assert (refusal and refusal.status) == status


def test_a_request_without_a_host_is_refused() -> None:
    refusal = Guard().refusal("GET", {})
    assert refusal is not None
    assert refusal.status == 400


@pytest.mark.parametrize(
    ("host", "origin", "may"),
    [
        ("localhost:7860", "http://localhost:7860", True),
        ("localhost:7860", "http://LOCALHOST:7860", True),
        ("[::1]:7860", "http://[::1]:7860", True),
        ("localhost", "http://localhost:80", True),
        ("localhost:80", "http://localhost", True),
        ("localhost", "https://localhost", True),  # a proxy that adds TLS
        ("localhost:7860", "http://localhost", False),
        ("localhost:7860", "http://127.0.0.1:7860", False),
        ("localhost:7860", "http://localhost:3000", False),
        ("localhost:7860", "https://evil.example", False),
        ("localhost:7860", "http://evil.example?http://localhost:7860", False),
        ("localhost:7860", "null", False),
        ("localhost:7860", "", False),
        ("localhost:7860", "file://", False),
        ("localhost:7860", "chrome-extension://localhost:7860", False),
    ],
)
def test_only_its_own_page(host: str, origin: str, may: bool) -> None:
    for method in ("GET", "POST", "OPTIONS"):
        refusal = Guard().refusal(method, {"host": host, "origin": origin})
        assert (refusal is None) == may
        assert may or refusal.status == 403  # type: ignore[union-attr]


def test_a_visit_from_elsewhere_is_welcome_but_nothing_else() -> None:
    visit = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert Guard().refusal("GET", HERE | visit) is None
    assert Guard().refusal("POST", HERE | visit) is not None
    assert Guard().refusal("GET", HERE | visit | {"sec-fetch-dest": "iframe"}) is not None
    for site in ("cross-site", "same-site"):
        picture = {"sec-fetch-site": site, "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"}
        assert Guard().refusal("GET", HERE | picture) is not None
    own = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
    assert Guard().refusal("POST", HERE | own) is None


def test_a_password_is_one_of_one_user() -> None:
    guard = Guard(None, "pässword: with colon")
    assert guard.refusal("GET", HERE | basic("limner", "pässword: with colon")) is None
    for wrong in (
        basic("limner", "pässword"),
        basic("root", "pässword: with colon"),
        {"authorization": "Basic"},
        {"authorization": "Basic !!!"},
        {"authorization": "Bearer pässword: with colon"},
        {},
    ):
        refusal = guard.refusal("GET", HERE | wrong)
        assert refusal is not None
        assert refusal.status == 401
        assert "charset" in refusal.headers["www-authenticate"]


def test_who_guesses_has_to_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("limner.studio.guard.time.monotonic", lambda: now)
    guard = Guard(None, PASSWORD)
    for _ in range(Attempts.MOST):
        assert guard.refusal("GET", HERE | basic("limner", "guess"), "2001:db8::1").status == 401  # type: ignore[union-attr]
    refused = guard.refusal("GET", HERE | basic("limner", PASSWORD), "2001:db8::2")  # of the same network
    assert refused is not None
    assert (refused.status, refused.headers["retry-after"]) == (429, "60")
    assert guard.refusal("GET", HERE | basic("limner", PASSWORD), "2001:db8:0:1::1") is None
    assert guard.refusal("GET", HERE | basic("limner", PASSWORD), "192.0.2.1") is None
    now += 61
    assert guard.refusal("GET", HERE | basic("limner", PASSWORD), "2001:db8::1") is None


def test_only_so_many_addresses_are_remembered() -> None:
    attempts = Attempts()
    for number in range(3 * Attempts.ADDRESSES):
        attempts.failed(f"10.{number >> 16}.{(number >> 8) & 255}.{number & 255}")
    assert len(attempts._failed) == Attempts.ADDRESSES


@pytest.mark.parametrize("path", ["/", "/train", "/pages/app.js", "/api/jobs", "/openapi.json", "/sdapi/v1/progress"])
def test_without_the_password_nothing_is_told(locked: Served, path: str) -> None:
    answer = locked.client.get(path)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert locked.client.get(path, headers=basic("limner", "wrong word")).status_code == 401
    assert locked.client.get(path, headers=basic("limner", PASSWORD)).status_code in (200, 404)


@pytest.fixture(scope="module")
def locked(start_studio: Callable[..., Served]) -> Served:
    return start_studio(LIMNER_PASSWORD=PASSWORD, CIVITAI_API_KEY="key-that-nobody-reads")
