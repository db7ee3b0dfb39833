"""The shelf over HTTP: rows, pictures and files by name, changes that are followed, hashes as a job."""

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from library.shelf_files import embedding, lora
from PIL import Image
from studio.served import BASE, Served, wait

EVIL = '<img src=x onerror="alert(1)">'


@pytest.fixture(scope="module")
def kept(studio: Served) -> Served:
    """The module's studio, with a LoRA, an embedding and a damaged file on its shelf."""
    lora(studio.models / "Lora/deep/ink.safetensors", ss_output_name="ink_wash", **{"modelspec.title": EVIL})
    Image.new("RGB", (8, 8), "red").save(studio.models / "Lora/deep/ink.png")
    embedding(studio.models / "embeddings/word.safetensors", 768)
    (studio.models / "embeddings/word.png").write_text("<script>alert(1)</script>")
    (studio.models / "Lora/broken.safetensors").write_bytes(b"nothing")
    studio.post("/api/models/scan")
    wait(lambda: studio.get("/api/models")["total"] == 5 and not studio.get("/api/models/scan")["busy"])
    return studio


def names(studio: Served, query: str = "") -> list[str]:
    return [row["name"] for row in studio.get(f"/api/models{query}")["models"]]


def test_rows_say_what_a_file_is(kept: Served) -> None:
    found = kept.get("/api/models")
    rows = {row["name"]: row for row in found["models"]}
    assert list(rows) == [
        "pocket",
        "Lora/broken.safetensors",
        "Lora/deep/ink.safetensors",
        BASE,
        "embeddings/word.safetensors",
    ]
    assert found["counts"] == {"": 1, "lora": 1, "checkpoint": 2, "embedding": 1}
    ink = rows["Lora/deep/ink.safetensors"]
    assert (ink["kind"], ink["family"], ink["stem"], ink["preview"]) == ("lora", "sd1", "ink", True)
    assert ink["title"] == EVIL
    assert {reader["name"] for reader in ink["readers"] if reader["loads"]} >= {"A1111", "ComfyUI"}
    assert rows["pocket"]["built_in"]
    assert rows[BASE]["kind"] == "checkpoint"
    broken = rows["Lora/broken.safetensors"]["problem"]
    assert broken.startswith("Lora/broken.safetensors")
    assert str(kept.models) not in json.dumps(found)


def test_filters_and_pages(kept: Served) -> None:
    assert names(kept, "?type=lora") == ["Lora/deep/ink.safetensors"]
    assert names(kept, "?q=INK") == ["Lora/deep/ink.safetensors"]
    assert names(kept, "?type=checkpoint&base=sd1&q=tiny") == [BASE]
    assert names(kept, "?base=sdxl") == []
    everything = names(kept)
    assert [name for at in range(5) for name in names(kept, f"?limit=1&offset={at}")] == everything
    assert names(kept, "?order=largest&limit=2") == ["pocket", BASE]
    assert kept.client.get("/api/models?type=vae").status_code == 422


def test_pictures_and_files_by_name(kept: Served) -> None:
    ask = kept.client.get
    picture = ask("/api/models/preview", params={"name": "Lora/deep/ink.safetensors"})
    assert picture.headers["content-type"] == "image/png"
    assert picture.headers["x-content-type-options"] == "nosniff"
    assert ask("/api/models/preview", params={"name": "embeddings/word.safetensors"}).status_code == 404  # no picture
    whole = ask("/api/models/file", params={"name": "Lora/deep/ink.safetensors"})
    assert whole.content == (kept.models / "Lora/deep/ink.safetensors").read_bytes()
    assert "ink.safetensors" in whole.headers["content-disposition"]
    assert ask("/api/models/one", params={"name": "pocket"}).json()["built_in"]


@pytest.mark.parametrize(
    "name", ["Lora/deep/ink.png", "../kept/studio.sqlite", "/etc/passwd", "Lora/../" + BASE, "\0", ""]
)
def test_what_is_not_in_the_index_is_not_given_out(kept: Served, name: str) -> None:
    for route in ("one", "preview", "file"):
        assert kept.client.get(f"/api/models/{route}", params={"name": name}).status_code in (400, 404)


def test_a_link_that_leads_out_later_is_not_followed(kept: Served, tmp_path: Path) -> None:
    inside = embedding(kept.models / "embeddings/moved.safetensors", 768)
    wait(lambda: "embeddings/moved.safetensors" in names(kept))
    outside = tmp_path / "secret.safetensors"
    inside.rename(outside)
    inside.symlink_to(outside)
    assert kept.client.get("/api/models/file", params={"name": "embeddings/moved.safetensors"}).status_code == 404
    inside.unlink()
    wait(lambda: "embeddings/moved.safetensors" not in names(kept))  # noticed without being told


def test_where_to_put_files(kept: Served) -> None:
    told = kept.get("/api/models/scan")
    assert told["folder"] == str(kept.models)
    assert told["folders"]["lora"] == "Lora"
    assert not told["problem"]


def test_hashes_are_a_job(kept: Served) -> None:
    name = "Lora/deep/ink.safetensors"
    digest = hashlib.sha256((kept.models / name).read_bytes()).hexdigest()
    number = kept.give("hash", names=[name])
    job = kept.until(number, "done", "failed")
    assert job["result"] == {"hashed": 1, "failed": 0}, job
    assert kept.get(f"/api/models/one?name={name}")["sha256"] == digest
    assert names(kept, f"?q={digest[:10]}") == [name]
    missing = kept.until(kept.give("hash", names=["Lora/none.safetensors"]), "done", "failed")
    assert "no model 'Lora/none.safetensors'" in missing["error"]


def test_a_file_is_renamed_and_removed(kept: Served) -> None:
    lora(kept.models / "Lora/old.safetensors", seed=2)
    kept.post("/api/models/scan")
    wait(lambda: "Lora/old.safetensors" in names(kept))
    kept.post("/api/models/rename", {"name": "Lora/old.safetensors", "stem": "new"})
    assert "Lora/new.safetensors" in names(kept)
    refused = kept.client.post("/api/models/rename", json={"name": "Lora/new.safetensors", "stem": "../../out"})
    assert refused.status_code == 400
    assert kept.client.post("/api/models/remove", json={"name": "../studio.sqlite"}).status_code == 404
    told = kept.post("/api/models/remove", {"name": "Lora/new.safetensors"})
    assert (kept.models / told["trash"]).is_file()
    assert "Lora/new.safetensors" not in names(kept)


def test_the_folder_is_not_told_to_others(start_studio: Callable[..., Served]) -> None:
    """Asked by the machine's own other addresses this would be another client; here its route is asked directly."""
    from starlette.requests import Request

    from limner.studio.api.models import scan_state
    from limner.studio.shelf import Shelf

    shelf = Shelf(Path("somewhere"))
    state = SimpleNamespace(shelf=shelf)
    told = scan_state(state, Request({"type": "http", "client": ("192.168.0.7", 1), "headers": []}))
    assert told["folder"] is None


def test_answers_do_not_wait_for_acknowledgements(kept: Served) -> None:
    """Without TCP_NODELAY each answer on a kept connection takes 40 ms more, whatever it is."""
    times = []
    for _ in range(30):
        began = time.perf_counter()
        kept.get("/api/search/key")
        times.append(time.perf_counter() - began)
    assert min(times) < 0.03
