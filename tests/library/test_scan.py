"""The index of a models folder, with real files: what is read, when, and what is not."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from shelf_files import embedding, lora

from limner.cli import main
from limner.errors import UserError
from limner.files import sha256_file
from limner.library.reader import Reader
from limner.library.scan import Hashing, PassedOver, Reading, Scanned, hash_files, scan, shelf_root
from limner.library.shelf import Described, Hashes, Origin, Stamp
from limner.library.store import Store


def names(store: Store, root: Path, *query: str) -> list[str]:
    return [file.name for file in store.find(root, *query)]


def test_what_a_file_says_is_in_the_index(store: Store, root: Path, reader: Reader) -> None:
    words = {"modelspec.trigger_phrase": "zqvx", "ss_output_name": "Inky", "ss_v2": "False"}
    path = lora(root / "Lora" / "styles" / "ink.safetensors", **words)
    (path.parent / "ink.preview.png").write_bytes(b"")
    embedding(root / "embeddings" / "neg.safetensors")
    torch.save({"string_to_param": {"*": torch.zeros(1, 768)}, "name": "old"}, root / "embeddings" / "old.pt")
    (root / "Lora" / "broken.safetensors").write_bytes(b"not tensors at all")
    (root / "Lora" / "readme.txt").write_text("hello")
    *_, end = scan(store, root, reader)
    assert end == Scanned(total=4, read=4, removed=0)
    by_name = {file.name: file for file in store.find(root)}
    ink = by_name["Lora/styles/ink.safetensors"]
    assert (ink.kind, ink.form, ink.family, ink.keywords) == ("lora", "lora", "sd1", ("zqvx",))
    assert (ink.preview, ink.size_bytes, ink.container) == (
        "Lora/styles/ink.preview.png", path.stat().st_size, "safetensors",
    )  # fmt: skip
    assert ink.readers["A1111"] == ""
    assert ink.readers.keys() == {"A1111", "Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers"}
    negative = by_name["embeddings/neg.safetensors"]
    assert (negative.kind, negative.family, negative.keywords) == ("embedding", "sd2", ("neg",))
    assert by_name["embeddings/old.pt"].container == "pickle"
    assert "neither a safetensors file" in by_name["Lora/broken.safetensors"].problem
    assert names(store, root, "ZQVX") == names(store, root, "inky styles") == [ink.name]
    assert store.count(root) == {"lora": 1, "embedding": 2, "": 1}
    assert [file.name for file in store.find(root, kinds=["embedding"], families=["sd1"])] == ["embeddings/old.pt"]


def test_changes_are_followed_and_nothing_is_read_twice(store: Store, root: Path, reader: Reader) -> None:
    one = lora(root / "Lora" / "one.safetensors")
    two = lora(root / "Lora" / "two.safetensors", seed=2)
    list(scan(store, root, reader))
    list(hash_files(store, root, store.find(root), reader))
    assert list(scan(store, root, reader)) == [Scanned(2, 0, 0)]
    one.rename(root / "Lora" / "other.safetensors")
    lora(two, seed=3, **{"modelspec.trigger_phrase": "new"})
    lora(root / "Lora" / "three.safetensors", seed=4)
    (root / "Lora" / "three.png").write_bytes(b"")
    events = list(scan(store, root, reader))
    assert {event.name for event in events if isinstance(event, Reading)} == {
        "Lora/other.safetensors", "Lora/two.safetensors", "Lora/three.safetensors",
    }  # fmt: skip
    assert events[-1] == Scanned(3, 3, 1)
    found = {file.path.stem: file for file in store.find(root)}
    assert found.keys() == {"other", "two", "three"}
    moved = found["other"].hashes
    assert moved is not None
    assert moved.sha256 == sha256_file(found["other"].path)
    assert found["two"].keywords == ("new",)
    assert found["two"].hashes is None  # they were of what it held before
    assert found["three"].preview == "Lora/three.png"
    (root / "Lora" / "three.png").unlink()
    assert list(scan(store, root, reader)) == [Scanned(3, 0, 0)]
    assert next(file.preview for file in store.find(root, "three")) is None


def test_what_was_moved_or_linked_is_not_read_again(
    store: Store, root: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = lora(root / "Lora" / "one.safetensors", **{"modelspec.trigger_phrase": "inkw"})
    (root / "Lora" / "broken.safetensors").write_bytes(b"nothing")
    list(scan(store, root, reader))
    (before,) = store.find(root, "one")
    asked: list[Path] = []

    def describe(path: Path) -> Described:
        asked.append(path)
        return reader_describe(path)

    reader_describe = reader.describe
    monkeypatch.setattr(reader, "describe", describe)
    (root / "Lora" / "own").mkdir()
    (root / "Lora" / "own" / "one.safetensors").hardlink_to(one)
    (root / "Lora" / "two.safetensors").hardlink_to(one)
    (root / "Lora" / "broken.safetensors").rename(root / "Lora" / "own" / "broken.safetensors")
    list(scan(store, root, reader))
    # Another name may say something else, and the sentence about a broken file has its place in it.
    assert asked == [root / "Lora" / "two.safetensors", root / "Lora" / "own" / "broken.safetensors"]
    for name in ("own/one", "one", "two"):
        found = store.get(root, f"Lora/{name}.safetensors")
        assert found is not None
        assert (found.kind, found.keywords, found.details) == (before.kind, before.keywords, before.details)
    assert [file.name for file in store.find(root, "own/one inkw")] == ["Lora/own/one.safetensors"]


def test_hashes_are_those_of_civitai(store: Store, root: Path, reader: Reader) -> None:
    import hashlib

    path = lora(root / "Lora" / "one.safetensors")
    list(scan(store, root, reader))
    file = store.find(root)[0]
    assert list(hash_files(store, root, [file], reader)) == [Hashing(file.name, 0, 1)]
    hashes = store.find(root)[0].hashes
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    assert hashes == Hashes(hashlib.sha256(whole).hexdigest(), hashlib.sha256(whole[start:]).hexdigest()[:12])
    for digits in (hashes.autov2, hashes.autov3.upper(), hashes.sha256):
        assert names(store, root, digits) == [file.name]
    assert not list(hash_files(store, root, store.find(root), reader))


def test_links_out_of_the_folder_are_not_followed(store: Store, root: Path, reader: Reader, tmp_path: Path) -> None:
    outside = lora(tmp_path / "outside" / "secret.safetensors")
    inside = lora(root / "Lora" / "real.safetensors")
    (root / "Lora" / "out.safetensors").symlink_to(outside)
    (root / "Lora" / "in.safetensors").symlink_to(inside)
    (root / "Lora" / "gone.safetensors").symlink_to(root / "nothing.safetensors")
    (root / "Lora" / "folder").symlink_to(outside.parent)
    (root / "Lora" / "circle").symlink_to(root / "Lora")
    (root / "embeddings").symlink_to(outside.parent)
    os.mkfifo(root / "Lora" / "pipe.safetensors")
    events = list(scan(store, root, reader))
    assert names(store, root) == ["Lora/in.safetensors", "Lora/real.safetensors"]
    assert {event.name for event in events if isinstance(event, PassedOver)} == {
        "Lora/out.safetensors", "Lora/gone.safetensors", "Lora/folder", "Lora/circle", "embeddings",
        "Lora/pipe.safetensors",
    }  # fmt: skip


def test_hidden_files_and_folders_in_diffusers_layout_stay_out(store: Store, root: Path, reader: Reader) -> None:
    lora(root / "Lora" / ".hidden.safetensors")
    lora(root / "Lora" / ".trash" / "a.safetensors")
    lora(root / "Stable-diffusion" / "whole" / "unet" / "model.safetensors")
    (root / "Stable-diffusion" / "whole" / "model_index.json").write_text("{}")
    passed, end = scan(store, root, reader)
    assert isinstance(passed, PassedOver)
    assert "--base" in passed.reason
    assert end == Scanned(0, 0, 0)


def test_a_name_is_never_a_pattern(store: Store, root: Path) -> None:
    with store.changing():
        for name in ("Lora/100%.safetensors", "Lora/a_b.safetensors", "Lora/a'b\".safetensors"):
            store.put(root, name, Stamp(1, 2, 3), 1, Described(kind="lora"), None)
    assert names(store, root, "%") == ["Lora/100%.safetensors"]
    assert names(store, root, "_") == ["Lora/a_b.safetensors"]
    assert names(store, root, "'b\"") == ["Lora/a'b\".safetensors"]
    assert names(store, root, "a' OR 1=1 --") == []


def test_where_a_file_came_from_is_found_by_its_hash(store: Store, root: Path, reader: Reader) -> None:
    path = lora(root / "Lora" / "a.safetensors")
    origin = Origin("civitai", "civitai:1@2", "https://example.org/models/1", "Ink Wash", "v2", "SD 1.5", ("inkw", "b"))
    with store.changing():
        store.remember(sha256_file(path).upper(), origin)
    list(scan(store, root, reader))
    assert store.find(root)[0].origin is None
    list(hash_files(store, root, store.find(root), reader))
    assert store.find(root, "ink wash")[0].origin == origin
    assert store.find(root, "inkw")[0].keywords == ("inkw", "b")


SCAN = """
import sys
from pathlib import Path
from limner.library.reader import Reader
from limner.library.scan import Reading, scan
from limner.library.store import Store
with Store(Path(sys.argv[1])) as store, Reader() as reader:
    for event in scan(store, Path(sys.argv[2]), reader):
        print(event, flush=True)
assert not {"torch", "numpy", "diffusers"} & set(sys.modules)
"""


def start(store: Path, root: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", SCAN, str(store), str(root)], stdout=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_a_killed_scan_leaves_what_was_read_and_the_next_one_goes_on(
    tmp_path: Path, root: Path, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        lora(root / "Lora" / f"{number:03}.safetensors", seed=number)
    path = tmp_path / "library.sqlite"
    running = start(path, root)
    with Store(path) as store:
        deadline = time.monotonic() + 60
        while not store.count(root) and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGKILL)
        running.wait()
        kept = sum(store.count(root).values())
        assert 0 < kept < 300
        *_, end = scan(store, root, reader)
        assert end == Scanned(300, 300 - kept, 0)
        assert store.count(root) == {"lora": 300}


@pytest.mark.slow
def test_two_processes_scan_at_once(tmp_path: Path, root: Path) -> None:
    for number in range(40):
        lora(root / "Lora" / f"{number:03}.safetensors", seed=number)
    path = tmp_path / "library.sqlite"
    both = [start(path, root) for _ in range(2)]
    for each in both:
        told, _ = each.communicate(timeout=120)
        assert each.returncode == 0
        assert "Scanned(total=40" in told
    with Store(path) as store:
        assert store.count(root) == {"lora": 40}


def test_a_file_that_another_scan_found_meanwhile_stays(
    store: Store, root: Path, reader: Reader, tmp_path: Path
) -> None:
    lora(root / "Lora" / "a.safetensors")
    events = scan(store, root, reader)
    next(events)  # the folder has been looked at
    late = lora(root / "Lora" / "late.safetensors")
    with Store(store.path) as other:
        list(scan(other, root, reader))
    list(events)
    assert names(store, root) == ["Lora/a.safetensors", "Lora/late.safetensors"]
    late.unlink()
    list(scan(store, root, reader))
    assert names(store, root) == ["Lora/a.safetensors"]


def test_a_worker_that_dies_is_started_again(root: Path, reader: Reader) -> None:
    path = lora(root / "Lora" / "a.safetensors")
    assert reader.describe(path).kind == "lora"
    assert reader._process is not None
    reader._process.kill()
    assert "do not trust it" in reader.describe(path).problem or reader.describe(path).kind == "lora"
    assert reader.describe(path).kind == "lora"
    with pytest.raises(UserError, match="nowhere"):
        reader.hash(root / "nowhere.safetensors")


def test_a_damaged_or_newer_index_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(UserError, match=r"bad\.sqlite.*move it away"):
        Store(tmp_path / "bad.sqlite")
    with Store(tmp_path / "new.sqlite") as store:
        store._db.execute("PRAGMA user_version = 99")
    with pytest.raises(UserError, match="newer Limner"):
        Store(tmp_path / "new.sqlite")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot keep the index"):
        Store(tmp_path / "file" / "x.sqlite")


ALONE = """
import importlib, pkgutil, socket, sys
from pathlib import Path
def refuse(*_, **__):
    raise SystemExit("a socket was opened")
socket.socket.connect = socket.getaddrinfo = refuse
import limner.library
for module in pkgutil.iter_modules(limner.library.__path__):
    importlib.import_module(f"limner.library.{module.name}")
from limner.library.civitai import Civitai
from limner.library.hub import Hub
from limner.library.reader import Reader
from limner.library.scan import scan
from limner.library.search import Request, search
from limner.library.store import Store
root = Path(sys.argv[2])
with Store(Path(sys.argv[1])) as store, Reader() as reader:
    events = list(scan(store, root, reader))
    found = list(search(store, root, Request("a"), ["local"], Civitai(store), Hub()))
    assert found and store.count(root), (events, found)
assert not {"torch", "numpy", "diffusers", "transformers", "huggingface_hub"} & set(sys.modules)
"""


def test_nothing_here_loads_torch_or_asks_anyone(tmp_path: Path, root: Path) -> None:
    lora(root / "Lora" / "a.safetensors")
    done = subprocess.run(
        [sys.executable, "-c", ALONE, str(tmp_path / "l.sqlite"), str(root)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_processes_that_make_the_index_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from limner.library.store import Store; Store(Path(sys.argv[1])).close()"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "l.sqlite")]) for _ in range(4)]
    assert [each.wait() for each in both] == [0] * 4


def test_no_models_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--models"):
        shelf_root(tmp_path / "nowhere")


@pytest.mark.usefixtures("same_reader")
def test_limner_models(
    tmp_path: Path, root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "200")
    path = lora(root / "Lora" / "ink.safetensors", **{"modelspec.trigger_phrase": "zq\x1b[31mvx"})
    embedding(root / "embeddings" / "neg.safetensors")
    assert main(["models", "--models", str(root), "--json", "--hash", "--type", "lora"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["counts"] == {"lora": 1}
    (file,) = found["files"]
    assert file["sha256"] == sha256_file(path)
    assert (file["family"], file["autov2"]) == ("sd1", file["sha256"][:10])
    assert main(["models", "--models", str(root)]) == 0
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out
    assert file["autov3"] in shown.out
    assert "neg" in shown.out
    assert main(["models", "nothing-such", "--models", str(root)]) == 0
    assert "nothing of that kind" in capsys.readouterr().err
    assert main(["models", "--models", str(tmp_path / "no")]) == 2
