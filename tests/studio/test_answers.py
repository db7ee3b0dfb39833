"""What is said when something is wrong with a request, or the server: a sentence, nothing about the machine."""

import contextlib
import re
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from studio.served import Served, wait

from limner.studio import bounds
from limner.studio.app import MOST_BODY_BYTES
from limner.studio.bounds import Bounds
from limner.studio.guard import HEADERS, Guard
from limner.studio.places import Places

PASSWORD = "correct horse battery"
KEY = "a-key-that-no-log-may-hold"


def sentence(answer: Any) -> str:
    """The answer's, after a look at what every refusal must be."""
    assert answer.headers["content-type"] == "application/json"
    for name, value in HEADERS.items():
        assert answer.headers[name] == value
    told = answer.json()["detail"]
    assert isinstance(told, str)
    assert not re.search(r"Traceback|\.py\b|/(home|root|tmp|work|usr|var)/", answer.text)
    return told


def raw(studio: Served, text: bytes, seconds: float = 30) -> bytes:
    """What comes back for exactly these bytes, until the server closes."""
    host, port = studio.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), seconds) as connection:
        parts = []
        with contextlib.suppress(ConnectionError):  # it closes while more is being sent
            connection.sendall(text.replace(b"HOST", f"{host}:{port}".encode()))
            while part := connection.recv(65536):
                parts.append(part)
        return b"".join(parts)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/api/nowhere", 404),
        ("GET", "/sdapi/v1/nowhere", 404),
        ("GET", "/pages/../app.py", 404),
        ("GET", "/pages/%2e%2e/app.py", 404),
        ("GET", "/pages/..%2fapp.py", 404),
        ("GET", "/pages//etc/passwd", 404),
        ("GET", "/pages/%00", 400),
        ("GET", "/pages/views", 404),
        ("PUT", "/api/jobs", 405),
        ("POST", "/pages/app.js", 405),
        ("TRACE", "/api/jobs", 405),
        ("OPTIONS", "/api/jobs", 405),
        ("GET", "/api/jobs/one", 422),
        ("GET", "/api/jobs?limit=NaN", 422),
        ("GET", "/api/jobs/99999999999999999999999999", 400),
        ("GET", "/api/jobs/-1/events/1/file", 400),
    ],
)
def test_what_there_is_not(studio: Served, method: str, path: str, status: int) -> None:
    answer = studio.client.request(method, path)
    assert answer.status_code == status
    assert sentence(answer)
    if path.startswith("/sdapi/"):
        assert set(answer.json()) == {"error", "detail", "body", "errors"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"kind": "generate", "request": {"cfg_scale": NaN}}',
        b'{"kind": "generate", "request": {"seed": 1e400}}',
        b'{"kind": "generate", "request": {"seed": ' + b"9" * 5000 + b"}}",
        b'{"kind": "generate", "request": {"prompt": "\\ud800"}}',
        b'{"kind": "generate", "request": {"\\ud800": 1}}',
        b'{"kind": "\\ud800"}',
        b'{"kind": "generate", "title": "\\ud800"}',
        b'{"kind": "train", "request": {"more": {"\\ud800": "\\ud800"}}}',
        b'{"kind": "train", "request": {"more": {"a": NaN}}}',
        b'{"kind": "train", "request": {"keyword": "\\u0000"}}',
        b'{"kind": "generate", "request": {"base": "../../etc/passwd\\u0000"}, "title": 7}',
    ],
)
def test_a_body_that_is_none(studio: Served, body: bytes) -> None:
    answer = studio.client.post("/api/jobs", content=body, headers={"content-type": "application/json"})
    assert answer.status_code in (400, 422), answer.text
    assert sentence(answer)


def test_a_validation_error_repeats_nothing_that_was_sent(studio: Served) -> None:
    answer = studio.client.post("/api/jobs", json={"kind": "secret-of-mine", "title": ["secret-of-mine"]})
    assert answer.status_code == 422
    assert "title" in sentence(answer)
    assert "secret-of-mine" not in answer.text


def test_a_large_body_is_refused_when_it_is_announced_and_when_it_comes(studio: Served) -> None:
    large = b"x" * (MOST_BODY_BYTES + 1)
    json_type = {"content-type": "application/json"}
    announced = studio.client.post("/api/jobs", content=large, headers=json_type)
    in_pieces = studio.client.post("/api/jobs", content=(large[at : at + 2**20] for at in range(0, len(large), 2**20)))
    for answer in (announced, in_pieces):
        assert answer.status_code == 413
        assert "the 4 MB that" in sentence(answer)
    answer = studio.client.request("GET", "/api/jobs", content=b"x")
    assert answer.status_code == 413
    assert sentence(answer)


def test_headers_have_an_end(studio: Served) -> None:
    answer = studio.client.get("/", headers={"x": "x" * 40_000})
    assert answer.status_code == 431
    assert sentence(answer)
    endless = b"GET / HTTP/1.1\r\nHost: HOST\r\nX: " + b"x" * 1_000_000
    answer = raw(studio, endless)
    assert not answer or b" 400 " in answer[:20]
    assert b" 400 " in raw(studio, b"\x16\x03\x01\x02\x00 no http at all\r\n\r\n")[:20]


@pytest.mark.parametrize("double", [b"Host: evil.example", b"Origin: null\r\nOrigin: http://HOST"])
def test_a_header_that_counts_is_given_once(studio: Served, double: bytes) -> None:
    """h11 refuses two Hosts itself, the guard the others."""
    answer = raw(studio, b"GET /api/jobs HTTP/1.1\r\nHost: HOST\r\n" + double + b"\r\nConnection: close\r\n\r\n")
    assert b" 400 " in answer[:20]


def test_no_one_may_read_across_and_nothing_is_kept(studio: Served) -> None:
    host = studio.address.removeprefix("http://")
    for path in ("/", "/train", "/pages/app.js", "/api/jobs", "/openapi.json"):
        answer = studio.client.get(path, headers={"origin": f"http://{host}"})
        assert answer.status_code == 200
        assert not any(name.startswith("access-control") for name in answer.headers)
        assert "server" not in answer.headers
        for name, value in HEADERS.items():
            assert answer.headers.get_list(name) == [value]
        assert answer.headers["cache-control"] == ("no-store" if path.startswith("/api") else "no-cache")
    page = studio.client.get("/pages/app.js")
    again = studio.client.get("/pages/app.js", headers={"if-none-match": page.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_the_schema_says_how_problems_look(studio: Served) -> None:
    schema = studio.get("/openapi.json")
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert "4XX" in operation["responses"]
            assert "422" not in operation["responses"]


# What needs faults that the studio does not have, or long waits: the same parts around another application


def around(**routes: Callable[..., Any]) -> TestClient:
    from limner.studio.answers import add_answers

    app = FastAPI()
    add_answers(app, Places(Path("/nowhere"), Path("/nowhere/models")))
    for name, route in routes.items():
        app.add_api_route(f"/{name}", route, methods=["GET", "POST"])
    return TestClient(Guard(("testserver",)).middleware(Bounds(app)), raise_server_exceptions=False)


def test_a_fault_is_told_without_what_it_was(caplog: pytest.LogCaptureFixture) -> None:
    def fault() -> None:
        raise RuntimeError("/root/secret is broken")

    answer = around(fault=fault).get("/fault")
    assert answer.status_code == 500
    assert "a fault of Limner's" in sentence(answer)
    assert "secret" not in answer.text


def test_too_many_requests_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_REQUESTS", 1)
    client: TestClient

    def outer() -> dict[str, Any]:
        inner = client.get("/inner")
        return {"status": inner.status_code, "wait": inner.headers["retry-after"], "told": sentence(inner)}

    def inner() -> dict[str, Any]:  # a builtin has no signature that FastAPI could read
        return {}

    client = around(outer=outer, inner=inner)
    for _ in range(2):  # the place is free again
        told = client.get("/outer").json()
        assert (told["status"], told["wait"]) == (503, "2")
        assert "try again" in told["told"]


def test_a_body_that_drips_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    monkeypatch.setattr(bounds, "SECONDS_FOR_BODY", 0.3)
    heard: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return {"type": "http.request", "body": b"x", "more_body": True}

    async def send(message: Any) -> None:
        heard.append(message)

    from starlette.exceptions import HTTPException

    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": []}
    began = time.monotonic()
    with pytest.raises(HTTPException) as caught:
        asyncio.run(Bounds(app)(scope, receive, send))
    assert caught.value.status_code == 408
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("depth", [65, 317, 5_000, 500_000])
@pytest.mark.parametrize("opening", ["[", '{"a":'])
def test_json_that_nests_too_deep_is_refused_on_every_route(studio: Served, depth: int, opening: str) -> None:
    body = opening * depth
    for path, operations in studio.get("/openapi.json")["paths"].items():
        for method, operation in operations.items():
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                path = re.sub(r"\{[^}]*\}", "1", path)
                answer = studio.client.request(method, path, content=body, headers={"content-type": "application/json"})
                assert answer.status_code in (413, 422), (path, answer.status_code, answer.text)
                assert answer.status_code == 413 or "nests more than" in sentence(answer)


@pytest.mark.parametrize(
    "unit",
    [b"[],", b'"",', b" "],
)
def test_a_body_of_very_many_values_costs_little(studio: Served, unit: bytes) -> None:
    """Others are answered meanwhile, and the server does not grow."""
    body = b"[" + unit * (20_000_000 // len(unit))
    assert studio.process is not None
    before = memory(studio.process.pid)["VmHWM"]
    answer = studio.client.post("/sdapi/v1/img2img", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert "too many values" in sentence(answer)
    assert memory(studio.process.pid)["VmHWM"] - before < 100_000  # the body twice, while it comes in


def test_strings_and_numbers_that_cannot_be_written_are_refused() -> None:
    from starlette.exceptions import HTTPException

    from limner.studio.json_body import load_json

    for text in (b'"\\ud800"', b'"a\\u0000"', b"[Infinity]", b'{"\\udfff": 1}', b"[1e999]"):
        with pytest.raises(HTTPException, match="cannot be written down"):
            load_json(text)
    assert load_json(b'{"a": ["[[[[", "]]", "\\"", 1.5]}') == {"a": ["[[[[", "]]", '"', 1.5]}
    assert load_json(b"[1") is None
    assert load_json(b'["' + b"[" * 1_000_000 + b'"]') == ["[" * 1_000_000]
    assert load_json(b'"never ends' + b"\\" * 1_000_001) is None


def test_idle_connections_shut_nobody_out(studio: Served) -> None:
    """Some say nothing, some say the beginning of a request."""
    name, port = studio.address.removeprefix("http://").split(":")
    idle = [socket.create_connection((name, int(port))) for _ in range(800)]
    try:
        for each in idle[::2]:
            with contextlib.suppress(OSError):
                each.sendall(b"GET /api/jobs HTTP/1.1\r\nHost: ")
        for _ in range(3):
            with httpx2.Client(base_url=studio.address, timeout=60) as client:
                assert client.get("/api/jobs").status_code == 200
    finally:
        for each in idle:
            each.close()


def test_secrets_are_in_no_answer_and_no_log(start_studio: Callable[..., Served]) -> None:
    studio = start_studio(LIMNER_PASSWORD=PASSWORD, CIVITAI_API_KEY=KEY)
    client = studio.client
    for auth in ((("limner", PASSWORD)), ("limner", PASSWORD + "x"), None):
        for path in ("/", "/api/jobs", "/nowhere", "/openapi.json", "/api/settings/train"):
            answer = client.get(path, auth=auth)
            assert PASSWORD not in answer.text
            assert KEY not in answer.text
    client.post(
        "/api/jobs", auth=("limner", PASSWORD), json={"kind": "generate", "request": {"base": "nothing", "x": 1}}
    )
    job = client.post("/api/jobs", auth=("limner", PASSWORD), json={"kind": "generate", "request": {"base": "nothing"}})
    url = f"/api/jobs/{job.json()['id']}"
    wait(lambda: client.get(url, auth=("limner", PASSWORD)).json()["status"] == "failed", 180)
    studio.stop()
    written = [studio.log, *(path for path in studio.folder.rglob("*") if path.is_file())]
    assert any(path.suffix == ".jsonl" for path in written)
    for path in written:
        content = path.read_bytes()
        assert PASSWORD.encode() not in content
        assert KEY.encode() not in content


# What the process is


def memory(pid: int) -> dict[str, int]:
    """Kilobytes, by the kernel's names."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Vm")}


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="only Linux tells what a process has loaded")
def test_the_server_never_loads_what_computes(studio: Served) -> None:
    """Through every route that can be asked without a body, and one job."""
    schema = studio.get("/openapi.json")
    for path, operations in schema["paths"].items():
        if "get" in operations and not path.endswith("/events"):
            plain = re.sub(r"\{[^}]*\}", "1", path)
            assert studio.client.get(plain).status_code < 500, plain
    studio.until(studio.give("generate", base="nothing"), "failed", seconds=180)
    assert studio.process is not None
    maps = Path(f"/proc/{studio.process.pid}/maps").read_text()
    for library in ("libtorch", "cv2", "onnxruntime", "libcudart"):
        assert library not in maps
    assert memory(studio.process.pid)["VmRSS"] < 200_000
