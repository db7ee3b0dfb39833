"""Search and download over HTTP, from a model site on this machine with answers of the documented shape."""

import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from library.shelf_files import lora_bytes
from library.site_here import Handler, Site, model, serve, version
from studio.served import Served, wait

BROWSER = "/usr/bin/chromium"
SECRET = "sk-secret-of-the-person"
KEYRING = """
import os
from pathlib import Path

FILE = Path(__file__).with_name("kept")

def get_password(service, user):
    return FILE.read_text() if FILE.exists() else None

def set_password(service, user, value):
    FILE.write_text(value)

def delete_password(service, user):
    FILE.unlink()
"""


@dataclass
class Net:
    """A studio, the site that it searches, and the storage to which that redirects."""

    studio: Served
    site: Site
    storage: Site

    def offer(self, body: bytes, id: int, **file: Any) -> str:
        """Let the site have a model's version of which these are the bytes; returns its id."""
        self.site.answer(f"/api/v1/model-versions/{id}", version(self.site, body, id, **file))
        self.site.answer(f"/api/download/models/{id}", b"", 307, Location=f"{self.storage.url}/{id}")
        self.storage.routes[f"/{id}"] = serve(body)
        return f"civitai:11@{id}"

    def fetch(self, id: str, **terms: Any) -> dict[str, Any]:
        return self.studio.until(self.studio.give("download", id=id, **terms), "done", "failed")

    def events(self, number: int, name: str) -> list[dict[str, Any]]:
        with self.studio.client.stream("GET", f"/api/jobs/{number}/events") as answer:
            lines = [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
        return [line for line in lines if line["event"] == name]

    def parts(self) -> list[Path]:
        """What lies there of downloads that were not ended."""
        return [each for each in (self.studio.models / ".downloads").rglob("*") if each.is_file()]


@pytest.fixture(scope="module")
def net(start_studio: Callable[..., Served], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Net]:
    site, storage = Site(), Site("localhost")
    folder = tmp_path_factory.mktemp("keyring")
    (folder / "keyring.py").write_text(KEYRING)
    keys = dict.fromkeys(("CIVITAI_API_KEY", "CIVITAI_API_TOKEN", "CIVITAI_TOKEN", "HF_TOKEN"), "")
    studio = start_studio(LIMNER_CIVITAI=site.url, HF_ENDPOINT=site.url, PYTHONPATH=str(folder), **keys)
    wait(lambda: studio.get("/api/models?q=tiny")["total"] == 1)
    yield Net(studio, site, storage)
    site.close()
    storage.close()


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return lora_bytes(tmp_path_factory.mktemp("made"), seed=5)


def test_nothing_is_asked_unless_the_person_searches_there(net: Net) -> None:
    net.studio.get("/api/search?q=tiny")
    assert not net.site.asked
    elsewhere = {"sec-fetch-site": "cross-site"}
    answer = net.studio.client.get("/api/search?q=tiny&source=civitai", headers=elsewhere)
    assert answer.status_code == 403
    assert not net.site.asked


def test_rows_say_what_is_to_be_agreed_to(net: Net, body: bytes) -> None:
    evil = '<script>alert("1")</script>'
    fine = version(net.site, body, 31)
    danger = version(net.site, body, 32, virusScanResult="Danger", virusScanMessage="Eicar")
    pickled = version(net.site, body, 33, metadata={"format": "PickleTensor"}, pickleScanResult="Pending")
    items = [model(fine, name=evil), model(danger, id=12), model(pickled, id=13)]
    net.site.answer("/api/v1/models", {"items": items, "metadata": {}})
    found = net.studio.get("/api/search?q=ink&type=lora&base=sd1&source=civitai")
    assert found["failed"] == {}
    first, second, third = found["found"]
    assert (first["title"], first["id"], first["agree"], first["refused"]) == (evil, "civitai:11@31", {}, "")
    assert "found dangerous by virus scan (Eicar" in second["refused"]
    assert set(third["agree"]) == {"pickle", "unverified"}
    assert first["page"] == f"{net.site.url}/models/11?modelVersionId=31"
    asked = dict(net.site.asked[-1].query)
    assert (asked["query"], asked["nsfw"], asked["baseModels"]) == ("ink", "false", "SD 1.5 Hyper")


@pytest.mark.parametrize(
    ("status", "answer", "said"),
    [
        (401, {}, "asks for a key"),
        (403, {}, "does not give this out"),
        (404, {}, "no such model"),
        (410, {}, "taken down"),
        (429, {"Retry_After": "3600"}, "enough requests; try again in 3600 s"),
        (503, {"Retry_After": "3600"}, "enough requests; try again in 3600 s"),
        (200, {"body": b"<html>Just a moment...</html>"}, "a page for people"),
        (200, {"body": b'{"items": [{}, {"modelVersions": [{"files": [{}]}]}, 7]}'}, ""),
        (302, {"Location": "file:///etc/passwd"}, "not followed"),
    ],
)
def test_a_source_that_fails_is_named_beside_the_others(
    net: Net, status: int, answer: dict[str, Any], said: str
) -> None:
    body = answer.pop("body", b"{}")
    net.site.answer("/api/v1/models", body, status, **answer)
    words = f"w{status}{len(said)}{len(body)}"  # answers are kept: another question each time
    found = net.studio.get(f"/api/search?q={words}&source=local&source=civitai")
    assert said in found["failed"].get("civitai", ""), found
    assert (found["failed"] == {}) == (said == "")
    both = net.studio.get("/api/search?q=tiny&source=local&source=hub")  # which answers 404 here
    assert [each["title"] for each in both["found"]] == ["tiny"]
    assert "the hub" in both["failed"]["hub"]


def test_searches_that_hang_are_few(net: Net) -> None:
    """A site that does not answer holds four searches; a fifth is told so, and goes on when they end."""
    come, go = threading.Semaphore(0), threading.Event()

    def hang(request: Handler) -> None:
        come.release()
        go.wait(20)
        request.reply(200, {"items": []})

    net.site.routes["/api/v1/models"] = hang
    with ThreadPoolExecutor(4) as four:
        for number in range(4):
            four.submit(net.studio.get, f"/api/search?q=hang{number}&source=civitai")
        assert all(come.acquire(timeout=20) for _ in range(4))
        refused = net.studio.client.get("/api/search?q=hang5&source=local")
        go.set()
    assert refused.status_code == 429
    assert "4 searches are under way" in refused.json()["detail"]
    net.studio.get("/api/search?q=hang5&source=civitai")


def test_a_paused_download_goes_on_and_comes_to_the_shelf_with_its_words(net: Net, body: bytes) -> None:
    id = net.offer(body, 22)
    net.storage.routes["/22"] = _slowly(body)
    number = net.studio.give("download", id=id)
    wait(lambda: net.studio.job(number)["progress"].get("done", 0) > 1000)
    net.studio.post(f"/api/jobs/{number}", {"ask": "pause"})
    net.studio.until(number, "paused")
    came = next(each for each in net.parts() if each.name == "part").stat().st_size
    assert 0 < came < len(body)
    net.storage.routes["/22"] = serve(body)
    net.storage.asked.clear()
    net.studio.post(f"/api/jobs/{number}", {"ask": "resume"})
    job = net.studio.until(number, "done", "failed")
    assert job["status"] == "done", job
    assert net.storage.asked[0].headers["Range"] == f"bytes={came}-"

    name = "Lora/ink_wash.safetensors"
    assert (net.studio.models / name).read_bytes() == body
    assert job["result"] == {"name": name, "kind": "lora", "was_here": False, "keywords": ["inkw", "ink wash style"]}
    assert job["progress"]["what"] == "fetching"
    assert job["progress"]["done"] == len(body)
    row = net.studio.get(f"/api/models/one?name={name}")
    assert row["keywords"] == ["inkw", "ink wash style"]
    assert row["sha256"] == hashlib.sha256(body).hexdigest()
    assert row["origin"]["page"] == f"{net.site.url}/models/11?modelVersionId=22"
    assert [each["name"] for each in net.studio.get("/api/models?q=inkw")["models"]] == [name]
    net.site.answer("/api/v1/models", {"items": [model(version(net.site, body, 22))], "metadata": {}})
    (found,) = net.studio.get("/api/search?q=here&source=civitai")["found"]
    assert found["here"] == name
    assert net.fetch(id)["result"]["was_here"]
    assert not net.parts()


def test_a_cancelled_download_leaves_nothing(net: Net, tmp_path: Path) -> None:
    body = lora_bytes(tmp_path, seed=9, rank=64)
    id = net.offer(body, 42, name="gone.safetensors")
    net.storage.routes["/42"] = _slowly(body)
    number = net.studio.give("download", id=id)
    wait(lambda: net.studio.job(number)["progress"].get("done", 0) > 1000)
    assert net.parts()
    net.studio.post(f"/api/jobs/{number}", {"ask": "cancel"})
    net.studio.until(number, "cancelled")
    assert not net.parts()
    assert not (net.studio.models / "Lora/gone.safetensors").exists()


def _slowly(body: bytes) -> Callable[[Handler], None]:
    """A file of which a piece comes every tenth of a second, and its end after a minute."""

    def route(request: Handler) -> None:
        request.send_response(200)
        for name, value in (("Content-Length", str(len(body))), ("ETag", '"one"'), ("Content-Type", "application/x")):
            request.send_header(name, value)
        request.end_headers()
        for at in range(0, len(body), len(body) // 600):
            request.wfile.write(body[at : at + len(body) // 600])
            request.wfile.flush()
            time.sleep(0.1)

    return route


def test_bad_files_are_refused_in_a_sentence(net: Net, body: bytes, tmp_path: Path) -> None:
    wrong = net.fetch(net.offer(lora_bytes(tmp_path, seed=21), 51, hashes={"SHA256": "0" * 64}))
    assert "came with another SHA-256" in wrong["error"]
    id = net.offer(lora_bytes(tmp_path, seed=22), 52)
    net.storage.answer("/52", b"<html>log in</html>", Content_Type="text/html")
    assert "sent a page (text/html)" in net.fetch(id)["error"]
    net.site.answer("/api/v1/model-versions/54", {"error": "gone"}, 410)
    assert "taken down" in net.fetch("civitai:11@54")["error"]
    assert "names no model" in net.fetch("../../etc/passwd")["error"]
    assert not net.parts()


def test_a_pickle_is_asked_about(net: Net) -> None:
    id = net.offer(b"whatever", 61, name="old.pt", metadata={"format": "PickleTensor"})
    job = net.fetch(id)
    assert job["status"] == "failed"
    (told,) = net.events(job["id"], "NotAgreed")
    assert told["agree"] == "pickle"
    assert told["reason"] == f"old.pt of {id} is a pickle, which can carry programs; look for a .safetensors"


def test_the_key_is_kept_sent_to_its_site_and_never_seen(net: Net, body: bytes) -> None:
    client = net.studio.client
    told = net.studio.get("/api/search/key")
    assert told == {"has_key": False, "from_environment": False, "can_keep": True, "problem": ""}
    bad = client.put("/api/search/key", json={"key": f"{SECRET} with spaces"})
    assert bad.status_code == 400
    assert SECRET not in bad.text
    kept = client.put("/api/search/key", json={"key": SECRET})
    assert kept.json()["has_key"]
    assert SECRET not in kept.text
    net.site.asked.clear()
    net.storage.asked.clear()
    net.site.answer("/api/v1/models", {"items": [], "metadata": {}})
    net.studio.get("/api/search?q=secret&source=civitai")
    job = net.fetch(net.offer(body, 71))
    assert job["status"] == "done"
    assert all(each.headers["Authorization"] == f"Bearer {SECRET}" for each in net.site.asked)
    assert not any(SECRET in str(each.headers) for each in net.storage.asked)
    for path in (each for each in net.studio.folder.rglob("*") if each.is_file()):
        assert SECRET.encode() not in path.read_bytes(), path
    assert SECRET not in net.studio.log.read_text()
    assert not client.delete("/api/search/key").json()["has_key"]


@pytest.mark.slow
def test_the_page_finds_fetches_and_shows_it_as_text(net: Net, tmp_path: Path) -> None:
    """A browser: what strangers wrote is text, a dangerous file has no button, and a download ends on the shelf."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if not Path(BROWSER).exists():
        pytest.skip(f"there is no {BROWSER}")
    evil = '<img src=x onerror="window.ran = true">'
    body = lora_bytes(tmp_path, seed=31, **{"modelspec.title": evil})
    net.offer(body, 81, name="page.safetensors")
    offers = [
        version(net.site, body, 81, name="page.safetensors"),
        version(net.site, body, 82, virusScanResult="Danger"),
    ]
    items = [model(offers[0], name=evil), model(offers[1], id=12, name="Bad")]
    net.site.answer("/api/v1/models", {"items": items, "metadata": {}})
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        told: list[str] = []
        page.on("console", lambda message: told.append(message.text))
        page.on("pageerror", lambda error: told.append(str(error)))
        page.on("request", lambda request: told.append(request.url) if net.studio.address not in request.url else None)
        page.goto(f"{net.studio.address}/models?tab=find&q=page")
        page.get_by_label("Hugging Face hub").uncheck()
        assert not page.get_by_role("heading", name="Civitai").count()  # nothing is asked by itself
        page.get_by_role("button", name="Search online").click()
        row = page.locator("li.offer", has_text=evil)
        row.get_by_role("button", name="Download").click()
        row.get_by_text("On the shelf").wait_for(timeout=120_000)
        row.get_by_role("button", name="inkw", exact=True).wait_for()
        bad = page.locator("li.offer", has_text="Bad")
        assert "found dangerous" in bad.inner_text()
        assert not bad.get_by_role("button").count()
        page.get_by_role("tab", name="On this machine").click()
        page.get_by_label("Search this machine").fill("page")
        card = page.locator("li.model", has_text=evil)
        card.get_by_role("button", name="Details").click()
        dialog = page.get_by_role("dialog", name=evil)
        assert hashlib.sha256(body).hexdigest() in dialog.inner_text()
        page.keyboard.press("Escape")
        draw = card.get_by_role("link", name="Draw with it")
        assert draw.get_attribute("href") == "/generate?prompt=%3Clora%3Apage%3A1%3E+inkw"
        assert page.evaluate("window.ran") is None
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert told == []
        browser.close()
