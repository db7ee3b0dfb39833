"""The hub's own client against a hub on this machine."""

import hashlib
import json
import socket
import time
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import HfApi, constants
from shelf_files import lora, lora_bytes
from site_here import QUICK, Site, serve
from test_web import run

from limner.cli import main
from limner.errors import UserError
from limner.library.choose import Terms
from limner.library.civitai import Civitai
from limner.library.download import Shelf, download
from limner.library.hub import Hub
from limner.library.offer import Asking, Failed, Found
from limner.library.reader import Reader
from limner.library.scan import scan
from limner.library.search import Request, search
from limner.library.store import Store
from limner.library.web import Web
from limner.network import Unreachable, require_name, why_unreachable


def listed(id: str, *tags: str, **more: Any) -> dict[str, Any]:
    return {
        "_id": "1", "id": id, "modelId": id, "tags": list(tags), "pipeline_tag": "text-to-image", "downloads": 5,
        "likes": 2, "createdAt": "2026-02-03T00:00:00.000Z", "author": id.split("/")[0], "gated": False,
    } | more  # fmt: skip


SDXL = "base_model:adapter:stabilityai/stable-diffusion-xl-base-1.0"
SD1 = "base_model:stable-diffusion-v1-5/stable-diffusion-v1-5"


@pytest.fixture
def hub(site: Site) -> Hub:
    return Hub(HfApi(endpoint=site.url, library_name="limner"))


def test_a_search_by_tags(hub: Hub, site: Site) -> None:
    site.answer("/api/models", [
        listed("a/ink", "lora", "diffusers", SDXL), listed("b/ink", "lora", SD1),
        listed("c/ink", "lora", "stable-diffusion-xl"),
        listed("d/adult", "lora", SDXL, "not-for-all-audiences"), listed("e/other", "lora", "base_model:black/FLUX"),
    ])  # fmt: skip
    found = hub.search("ink", "lora", "sdxl", "likes", 10)
    assert [(offer.id, offer.family) for offer in found] == [("hub:a/ink", "sdxl"), ("hub:c/ink", "sdxl")]
    asked = site.asked[0].query
    assert ("search", "ink") in asked
    assert ("filter", "lora") in asked
    assert ("sort", "likes") in asked
    assert [offer.id for offer in hub.search("ink", None, "sd1", "newest", 10)] == ["hub:b/ink"]
    assert len(hub.search("ink", None, "sdxl", "downloads", 10, nsfw=True)) == 3
    assert len(hub.search("ink", None, None, "downloads", 2)) == 2
    first = found[0]
    assert (first.kind, first.downloads, first.likes, first.published) == ("lora", 5, 2, "2026-02-03")


def test_kinds_by_tags(hub: Hub, site: Site) -> None:
    site.answer("/api/models", [
        listed("a/base", "diffusers:StableDiffusionPipeline"), listed("b/word", "textual_inversion", SD1),
        listed("c/lora", "lora"),
        listed("d/xl", "diffusers:StableDiffusionXLPipeline"),
    ])  # fmt: skip
    found = hub.search("", None, None, "downloads", 10)
    assert [(offer.kind, offer.family) for offer in found] == [
        ("checkpoint", "sd1"), ("embedding", "sd1"), ("lora", ""), ("checkpoint", "sdxl"),
    ]  # fmt: skip


def tree(path: str, body: bytes, status: str = "safe") -> dict[str, Any]:
    digest = hashlib.sha256(body).hexdigest()
    scan = {"status": status, "avScan": None, "pickleImportScan": None, "jFrogScan": None}
    return {
        "type": "file", "oid": "0" * 40, "size": len(body), "path": path,
        "lfs": {"oid": digest, "size": len(body), "pointerSize": 130}, "securityFileStatus": scan,
    }  # fmt: skip


def offer_files(site: Site, *files: dict[str, Any]) -> None:
    site.answer("/api/models/a/ink", listed("a/ink", "lora", SD1, sha="f" * 40, siblings=[]))
    site.answer(f"/api/models/a/ink/tree/{'f' * 40}", [*files, {"type": "directory", "oid": "1" * 40, "path": "x"}])


def test_a_file_from_the_hub(
    hub: Hub, site: Site, storage: Site, tmp_path: Path, root: Path, store: Store, reader: Reader
) -> None:
    body = lora_bytes(tmp_path, seed=8)
    offer_files(
        site, tree("ink.safetensors", body), tree("unet/model.safetensors", b"part"), tree("x.bin", b"1", "unsafe")
    )
    site.answer(f"/a/ink/resolve/{'f' * 40}/ink.safetensors", b"", 302, Location=f"{storage.url}/blob?sig=1")
    storage.routes["/blob"] = serve(body)
    shelf = Shelf(root, store, reader)
    civitai = Civitai(store, Web(site.url, None, QUICK))
    *_, end = download("hub:a/ink", shelf, civitai, hub, Terms())
    assert end.path == root / "Lora" / "ink.safetensors"
    assert end.path.read_bytes() == body
    assert store.find(root)[0].origin.page == f"{site.url}/a/ink"
    *_, again = download("hub:a/ink/ink.safetensors", shelf, civitai, hub, Terms())
    assert again.was_here
    with pytest.raises(UserError, match="dangerous"):
        list(download("hub:a/ink/x.bin", shelf, civitai, hub, Terms(pickle=True, unverified=True)))
    offer_files(site, tree("one.safetensors", body), tree("two.safetensors", body))
    with pytest.raises(UserError, match=r"--file which: one\.safetensors, two\.safetensors"):
        list(download("hub:a/ink", shelf, civitai, hub, Terms()))
    offer_files(site, tree("one.safetensors", body, "queued"))
    with pytest.raises(UserError, match="queued"):
        list(download("hub:a/ink", shelf, civitai, hub, Terms()))
    offer_files(site)
    with pytest.raises(UserError, match="no file of weights"):
        list(download("hub:a/ink", shelf, civitai, hub, Terms()))


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> str:
    """An address at which nobody listens, which both sites have."""
    site = Site()
    site.close()
    monkeypatch.setenv("LIMNER_CIVITAI", site.url)
    monkeypatch.setattr(constants, "ENDPOINT", site.url)
    monkeypatch.setenv("COLUMNS", "250")
    return site.url


def test_a_search_without_a_network_ends_soon_with_a_sentence(
    nowhere: str, root: Path, same_reader: None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    lora(root / "Lora" / "cat.safetensors")
    began = time.monotonic()
    assert main(["search", "cat", "--models", str(root)]) == 2
    assert time.monotonic() - began < 20
    out, said = capfd.readouterr()
    assert "local:Lora/cat.safetensors" in out  # what is here is shown all the same
    assert said.index("asking Civitai") < said.index("asking the hub") < said.index("limner: nothing from Civitai")
    assert "nothing from the hub: cannot reach 127.0.0.1: it refuses connections" in said
    assert "Retry" not in said
    assert main(["search", "cat", "--models", str(root), "--json", "--quiet"]) == 2
    out, said = capfd.readouterr()
    answer = json.loads(out.splitlines()[-1])
    assert [each["id"] for each in answer["found"]] == ["local:Lora/cat.safetensors"]
    assert answer["failed"].keys() == {"civitai", "hub"}
    assert "asking" not in said


def test_one_source_that_fails_leaves_the_other(
    nowhere: str, site: Site, root: Path, same_reader: None, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", site.url)
    site.answer("/api/models", [listed("a/ink", "lora", "diffusers", SDXL)])
    assert main(["search", "ink", "--models", str(root)]) == 0
    out, said = capfd.readouterr()
    assert "hub:a/ink" in out
    assert "warning: nothing from Civitai: cannot reach" in said


def test_a_download_without_a_network(nowhere: str, tmp_path: Path, same_reader: None, capfd: Any) -> None:
    for id in ("hub:a/ink", "civitai:12@34"):
        assert main(["download", id, "--models", str(tmp_path / "models")]) == 2
        said = capfd.readouterr().err
        assert said.index("asking") < said.index("limner: cannot reach 127.0.0.1")
        assert len(said.splitlines()) <= 4, said


def test_why_a_host_is_not_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    for error, reason in (
        (httpx2.ProxyError("407 Proxy Authentication Required"), "HTTPS_PROXY"),
        (httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed"), "certificate"),
        (httpx2.ConnectTimeout("timed out"), "does not answer"),
        (httpx2.ReadTimeout("timed out"), "does not answer"),
        (httpx2.ConnectError("[Errno -3] Temporary failure in name resolution"), "address is not found"),
        (httpx2.ConnectError("[Errno 111] Connection refused"), "refuses connections"),
        (httpx2.ConnectError("[Errno 101] Network is unreachable"), "there is no connection"),
    ):
        assert reason in str(why_unreachable("example.org", error))
    monkeypatch.setattr("limner.network.SECONDS_FOR_NAME", 0.05)
    monkeypatch.setattr("limner.network.getproxies", dict)
    for find in (lambda *_: time.sleep(1), lambda *_: (_ for _ in ()).throw(socket.gaierror(-3, "no name"))):
        monkeypatch.setattr("socket.getaddrinfo", find)
        with pytest.raises(Unreachable, match="its address is not found"):
            require_name("example.org")


def test_a_hub_that_is_not_to_be_asked(hub: Hub, monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
        hub.search("ink", None, None, "downloads", 5)
    with pytest.raises(UserError, match="HF_HUB_OFFLINE"):
        hub.model("a/ink")
    assert site.asked == []


def test_a_hub_that_does_not_answer_well(hub: Hub, site: Site) -> None:
    for name, value, reason in (
        ("X-Error-Code", "RepoNotFound", "no model a/ink"),
        ("X-Error-Code", "GatedRepo", "terms"),
    ):
        site.answer("/api/models/a/ink", {"error": "no"}, 401, **{name.replace("-", "_"): value})
        with pytest.raises(UserError, match=reason):
            hub.model("a/ink")
    with pytest.raises(UserError, match="OWNER/NAME"):
        hub.model("a/../b/c")
    for body in (b"<html>", b"[{}]", b"[1]", b'{"error": 1}'):
        site.answer("/api/models", body)
        with pytest.raises(UserError, match="try again later"):
            hub.search("ink", None, None, "downloads", 5)
    site.answer("/api/models", {"error": "no"}, 418)
    with pytest.raises(UserError, match="status 418"):
        hub.search("ink", None, None, "downloads", 5)


def test_one_table_over_all_sources(
    hub: Hub, site: Site, sites: Any, root: Path, store: Store, reader: Reader, tmp_path: Path
) -> None:
    from site_here import model, version

    path = lora(root / "Lora" / "ink.safetensors", seed=3)
    list(scan(store, root, reader))
    site.answer("/api/models", [listed("a/ink", "lora", SD1)])
    other = sites()
    other.answer("/api/v1/models", {"items": [model(version(other, path.read_bytes()))], "metadata": {}})
    civitai = Civitai(store, Web(other.url, None, QUICK))
    wanted = Request("ink", kind="lora", family="sd1")
    events, _ = run(_all(search(store, root, wanted, ("local", "civitai", "hub"), civitai, hub)))
    assert [event.offer.id for event in events] == ["local:Lora/ink.safetensors", "civitai:11@22", "hub:a/ink"]
    assert events[1].offer.here is None
    store.set_hashes(root, "Lora/ink.safetensors", store.find(root)[0].stamp, reader.hash(path))
    events, _ = run(_all(search(store, root, wanted, ("civitai",), civitai, hub)))
    assert events[0].offer.here == path
    del other.routes["/api/v1/models"]
    store._db.execute("DELETE FROM answers")
    events, _ = run(_all(search(store, None, wanted, ("local", "civitai", "hub"), civitai, hub)))
    assert [type(event) for event in events] == [Failed, Found]
    assert events[0].source == "civitai"


def _all(events: Any) -> Any:
    """A generator that yields nothing and returns all that another yields."""
    return [event for event in events if not isinstance(event, Asking)]
    yield


@pytest.mark.usefixtures("same_reader")
def test_limner_search(
    site: Site, sites: Any, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import json

    from site_here import model, version

    from limner.cli import main

    other = sites()
    monkeypatch.setenv("LIMNER_CIVITAI", other.url)
    monkeypatch.setenv("COLUMNS", "250")
    monkeypatch.setattr(constants, "ENDPOINT", site.url)
    other.answer("/api/v1/models", {"items": [model(version(other, b"x" * 3000), name="\x1b[31mInk[bold]")]})
    site.answer("/api/models", {"error": "no"}, 418)
    command = ["search", "ink", "--type", "lora", "--base", "sd1", "--models", str(root)]
    assert main([*command, "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out.splitlines()[-1])
    assert [row["id"] for row in found["found"]] == ["civitai:11@22"]
    assert found["failed"].keys() == {"hub"}
    assert "nothing from the hub: the hub answered with status 418" in told.err
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "Ink[bold]" in shown
    assert main([*command, "--source", "hub"]) == 2
    assert main([*command, "--source", "local"]) == 0
    assert main([*command, "--source", "moon"]) == 2
    capsys.readouterr()
    monkeypatch.setenv("CIVITAI_API_KEY", "two words")
    lora(root / "Lora" / "ink.safetensors")
    for status in (2, 0):  # of the sites that were asked, none has answered, and then one has
        assert main(command) == status
        told = capsys.readouterr()
        assert "nothing from Civitai: the key in $CIVITAI_API_KEY" in told.err
        assert "two words" not in told.err
        assert "local:Lora/ink.safetensors" in told.out
        site.answer("/api/models", [])
