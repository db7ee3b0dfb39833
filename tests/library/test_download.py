"""Downloads over real HTTP from a site that redirects to its storage: what arrives, and what is refused."""

import hashlib
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from shelf_files import LAYER, lora, lora_bytes
from site_here import QUICK, Handler, Route, Site, cut, serve, version

from limner.errors import UserError
from limner.library.choose import Terms
from limner.library.civitai import Civitai
from limner.library.download import STAGING, Shelf, download
from limner.library.fetch import Expected, Fetch
from limner.library.hub import Hub
from limner.library.key import Key
from limner.library.offer import Chosen, Fetched, Progress, Told, Waiting
from limner.library.reader import Reader
from limner.library.scan import scan
from limner.library.store import Store
from limner.library.web import Limits, Web

SECRET = "sk-secret-of-the-person"


@pytest.fixture
def body(tmp_path: Path) -> bytes:
    return lora_bytes(tmp_path, seed=5)


@pytest.fixture
def shelf(root: Path, store: Store, reader: Reader) -> Shelf:
    return Shelf(root, store, reader)


class Net:
    """A site that offers one file, and the storage where it lies."""

    def __init__(self, shelf: Shelf, site: Site, storage: Site) -> None:
        self.shelf, self.site, self.storage = shelf, site, storage

    def offer(self, body: bytes, route: Route | None = None, **file: Any) -> None:
        self.site.answer("/api/v1/model-versions/22", version(self.site, body, **file))
        self.site.answer("/api/download/models/22", b"", 307, Location=f"{self.storage.url}/file?X-Signature=abc")
        self.storage.routes["/file"] = route or serve(body)

    def fetch(self, terms: Terms | None = None, limits: Limits = QUICK, key: Key | None = None) -> list[Any]:
        civitai = Civitai(self.shelf.store, Web(self.site.url, key, limits))
        return list(download("civitai:11@22", self.shelf, civitai, Hub(), terms or Terms()))

    def files(self) -> list[str]:
        """What lies in the models folder, parts of downloads apart."""
        root = self.shelf.root
        return sorted(
            str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and STAGING not in path.parts
        )

    def left(self) -> list[str]:
        """Bytes of downloads that were not ended."""
        return [path.name for path in (self.shelf.root / STAGING).rglob("part*")]


@pytest.fixture
def net(shelf: Shelf, site: Site, storage: Site) -> Net:
    return Net(shelf, site, storage)


def test_a_file_arrives_with_all_that_is_known_of_it(net: Net, body: bytes) -> None:
    net.offer(body)
    chosen, *progress, end = net.fetch(key=Key(SECRET, "test"))
    assert isinstance(chosen, Chosen)
    assert (chosen.offer.title, chosen.file.precision, chosen.offer.base) == ("Ink Wash", "fp16", "SD 1.5")
    assert progress[-1] == Progress(len(body), len(body))
    path = net.shelf.root / "Lora" / "ink_wash.safetensors"
    assert isinstance(end, Fetched)
    assert (end.path, end.sha256, end.was_here) == (path, hashlib.sha256(body).hexdigest(), False)
    assert path.read_bytes() == body
    assert net.files() == ["Lora/ink_wash.safetensors"]
    assert net.left() == []
    (file,) = net.shelf.store.find(net.shelf.root, "ink wash style")
    assert (file.kind, file.family, file.keywords) == ("lora", "sd1", ("inkw", "ink wash style"))
    assert file.hashes is not None
    assert file.hashes.sha256 == end.sha256
    assert file.origin is not None
    assert file.origin.page == f"{net.site.url}/models/11?modelVersionId=22"
    assert all(asked.headers["Authorization"] == f"Bearer {SECRET}" for asked in net.site.asked)
    assert not any(SECRET in str(asked.headers) + str(asked.query) for asked in net.storage.asked)
    assert list(scan(net.shelf.store, net.shelf.root, net.shelf.reader))[-1].read == 0


def test_what_is_there_is_not_fetched_again(net: Net, body: bytes) -> None:
    own = lora(net.shelf.root / "Lora" / "own" / "mine.safetensors", seed=5)
    assert own.read_bytes() == body
    list(scan(net.shelf.store, net.shelf.root, net.shelf.reader))
    net.offer(body)
    end = net.fetch()[-1]
    assert (end.path, end.was_here) == (own, True)
    assert net.storage.asked == []
    assert net.shelf.store.find(net.shelf.root)[0].keywords == ("inkw", "ink wash style")


def test_nothing_is_overwritten(net: Net, body: bytes) -> None:
    other = lora(net.shelf.root / "Lora" / "ink_wash.safetensors", seed=1, rank=2)
    before = other.read_bytes()
    net.offer(body)
    assert net.fetch()[-1].path.name == "ink_wash-11-22.safetensors"
    assert other.read_bytes() == before
    third = lora_bytes(net.shelf.root, seed=9)
    net.offer(third)
    net.shelf.store._db.execute("DELETE FROM answers")
    with pytest.raises(UserError, match="is another file, and so is"):
        net.fetch()
    assert net.files() == ["Lora/ink_wash-11-22.safetensors", "Lora/ink_wash.safetensors"]


def test_the_same_file_under_its_name_that_no_index_knows(net: Net, body: bytes) -> None:
    path = lora(net.shelf.root / "Lora" / "ink_wash.safetensors", seed=5)
    net.offer(body)
    end = net.fetch()[-1]
    assert (end.path, end.was_here) == (path, True)
    assert net.files() == ["Lora/ink_wash.safetensors"]


def test_another_hash_is_refused_and_nothing_kept(net: Net, body: bytes) -> None:
    net.offer(body, serve(body[:-1] + bytes([body[-1] ^ 1])))
    with pytest.raises(UserError, match="another SHA-256"):
        net.fetch()
    assert net.files() == net.left() == []


def test_a_broken_download_goes_on_by_itself(net: Net, body: bytes) -> None:
    net.offer(body)
    net.storage.in_turn("/file", cut(body, 4000), serve(body))
    events = net.fetch()
    assert [type(event) for event in events if not isinstance(event, Progress)] == [Chosen, Waiting, Fetched]
    second = net.storage.asked[1].headers
    assert (second["Range"], second["If-Range"]) == ("bytes=4000-", '"one"')
    assert events[-1].path.read_bytes() == body


def test_a_stopped_download_goes_on_in_the_next_command(net: Net, body: bytes) -> None:
    net.offer(body, cut(body, 4000))
    with pytest.raises(UserError, match="broke"):
        net.fetch()
    assert net.files() == []
    assert sorted(net.left()) == ["part", "part.json"]
    net.storage.asked.clear()
    net.storage.routes["/file"] = serve(body)
    assert net.fetch()[-1].path.read_bytes() == body
    assert net.storage.asked[0].headers["Range"] == "bytes=4000-"


KILLED = """
import sys
from pathlib import Path
from limner.library.fetch import Expected, Fetch
from limner.library.web import Web
Path(sys.argv[2]).mkdir()
list(Fetch(Web(sys.argv[1]), Expected(sys.argv[1] + "/file", None, sys.argv[3], 10**9, None), Path(sys.argv[2])).run())
"""


def test_a_killed_download_goes_on(storage: Site, tmp_path: Path) -> None:
    body = os.urandom(300_000)
    sha256 = hashlib.sha256(body).hexdigest()

    def slow(request: Handler) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(len(body)))
        request.send_header("ETag", '"one"')
        request.end_headers()
        request.wfile.write(body[:200_000])
        request.wfile.flush()
        time.sleep(20)

    storage.in_turn("/file", slow, serve(body))
    staging = tmp_path / "staging"
    running = subprocess.Popen([sys.executable, "-c", KILLED, storage.url, str(staging), sha256])
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline and not ((staging / "part").exists() and (staging / "part").stat().st_size):
        time.sleep(0.02)
    running.kill()
    running.wait()
    kept = (staging / "part").stat().st_size
    assert 0 < kept <= 200_000
    expected = Expected(f"{storage.url}/file", len(body), sha256, 10**9, lambda status: status)
    list(Fetch(Web(storage.url, None, QUICK), expected, staging).run())
    assert storage.asked[-1].headers["Range"] == f"bytes={kept}-"
    assert (staging / "part").read_bytes() == body


def test_a_site_that_does_not_go_on_begins_again(net: Net, body: bytes) -> None:
    net.offer(body)
    net.storage.in_turn("/file", cut(body, 4000), serve(body, honours=False))
    events = net.fetch()
    assert any(isinstance(event, Told) and "begins again" in event.message for event in events)
    assert events[-1].path.read_bytes() == body


def test_a_file_that_changed_meanwhile_begins_again(net: Net, body: bytes) -> None:
    net.offer(body)
    net.storage.in_turn("/file", cut(body, 4000, '"old"'), serve(body, '"new"'))
    assert net.fetch()[-1].path.read_bytes() == body


def test_a_beginning_that_was_another_files_is_found_out(net: Net, body: bytes) -> None:
    wrong = bytes(len(body))
    net.offer(body)
    net.storage.in_turn("/file", cut(body[:8] + wrong[8:], 4000), serve(body))
    events = net.fetch()
    assert any(isinstance(event, Told) and "from its start" in event.message for event in events)
    assert events[-1].path.read_bytes() == body


@pytest.mark.parametrize(
    "lie", ["bytes 0-{last}/{size}", "bytes 4000-{last}/99999999", "bytes 4000-5000/{size}", "bytes x", "",
            "items 4000-1/2", "bytes 4000-{last}/*"],
)  # fmt: skip
def test_lies_about_ranges(net: Net, body: bytes, lie: str) -> None:
    def liar(request: Handler) -> None:
        span = lie.format(last=len(body) - 1, size=len(body))
        request.reply(206, body[4000:] if lie != "bytes 0-{last}/{size}" else body, Content_Range=span, ETag='"one"')

    net.offer(body)
    net.storage.in_turn("/file", cut(body, 4000), liar, serve(body))
    assert net.fetch()[-1].path.read_bytes() == body


def test_a_part_longer_than_the_file(net: Net, body: bytes) -> None:
    net.offer(body, cut(body, 4000))
    with pytest.raises(UserError):
        net.fetch()
    (part,) = (net.shelf.root / STAGING).rglob("part")
    part.write_bytes(body + b"more")
    net.storage.routes["/file"] = serve(body)
    assert net.fetch()[-1].path.read_bytes() == body


def test_damaged_notes_about_a_part(net: Net, body: bytes) -> None:
    for text in ("", "[]", '{"etag": 1', '{"unknown": 1}'):
        net.offer(body, cut(body, 4000))
        with pytest.raises(UserError):
            net.fetch()
        (beside,) = (net.shelf.root / STAGING).rglob("part.json")
        beside.write_text(text)
        net.storage.routes["/file"] = serve(body)
        path = net.fetch()[-1].path
        assert path.read_bytes() == body
        path.unlink()
        list(scan(net.shelf.store, net.shelf.root, net.shelf.reader))


STATUSES = {
    401: "CIVITAI_API_KEY",
    403: "does not give this out",
    404: "no such model",
    410: "taken down",
    429: "requests",
}


@pytest.mark.parametrize("status", STATUSES)
def test_what_a_site_does_not_give_out(net: Net, body: bytes, status: int) -> None:
    for where in (net.storage, net.site):
        net.offer(body)
        where.answer("/file" if where is net.storage else "/api/download/models/22", {"error": "no"}, status)
        with pytest.raises(UserError, match=STATUSES[status]):
            net.fetch()
    assert net.files() == []


def test_a_page_instead_of_the_file(net: Net, body: bytes) -> None:
    page = b"<!DOCTYPE html><title>Log in</title>" + b" " * (len(body) - 36)
    for route in (
        lambda it: it.reply(200, page, Content_Type="text/html; charset=utf-8"),
        lambda it: it.reply(200, page, Content_Type="application/octet-stream"),
        lambda it: it.reply(200, {"error": "log in"}),
    ):
        net.offer(body, route)
        with pytest.raises(UserError, match="instead of the file"):
            net.fetch()
        assert net.files() == []


def test_next_to_nothing_ends(net: Net, body: bytes) -> None:
    net.offer(body, lambda it: it.drip(200, body, 0.02))
    began = time.monotonic()
    with pytest.raises(UserError, match="next to nothing"):
        net.fetch()
    assert time.monotonic() - began < 3
    large = body + bytes(10**7)
    net.offer(large, lambda it: it.drip(200, large, 0.02))
    net.shelf.store._db.execute("DELETE FROM answers")
    with pytest.raises(UserError, match="next to nothing"):
        net.fetch()
    assert time.monotonic() - began < 6


def test_more_bytes_than_told(net: Net, body: bytes) -> None:
    def endless(request: Handler) -> None:
        request.send_response(200)
        request.send_header("Content-Type", "application/octet-stream")
        request.end_headers()
        for _ in range(10_000):
            request.wfile.write(b"\x08" * 2**16)

    net.offer(body, endless)
    with pytest.raises(UserError, match="more than the 100,000 bytes"):
        net.fetch(Terms(max_bytes=100_000))
    net.offer(body, serve(body + bytes(100_000)))
    with pytest.raises(UserError, match="were told"):
        net.fetch()
    assert net.files() == []


def test_packed_files_are_refused(net: Net, body: bytes) -> None:
    net.offer(body, serve(body, Content_Encoding="gzip"))
    with pytest.raises(UserError, match="packed"):
        net.fetch()


def test_no_space_is_known_before(net: Net, body: bytes) -> None:
    net.offer(body, sizeKB=10**15 / 1024)
    with pytest.raises(UserError, match="make space"):
        net.fetch(Terms(max_bytes=10**16))
    with pytest.raises(UserError, match="max-gb"):
        net.fetch()
    assert net.storage.asked == []


FULL = """
import resource, sys
from pathlib import Path
from limner.errors import UserError
from limner.library.fetch import Expected, Fetch
from limner.library.web import Web
resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))
folder = Path(sys.argv[2])
fetch = Fetch(Web(sys.argv[1]), Expected(sys.argv[1] + "/file", None, None, 10**9, UserError), folder)
try:
    list(fetch.run())
except UserError as error:
    print(error)
"""


def test_no_space_on_the_way(storage: Site, body: bytes, tmp_path: Path) -> None:
    """A limit on files' sizes stands for a full disk: both end in an error of the write."""
    storage.routes["/file"] = serve(body)
    (tmp_path / "staging").mkdir()
    command = [sys.executable, "-c", FULL, storage.url, str(tmp_path / "staging")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert "no more space" in done.stdout, done.stderr
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 3000


SCANS = {
    "danger": ({"virusScanResult": "Danger", "virusScanMessage": "Win.Trojan"}, "Win.Trojan", False),
    "pickle danger": ({"pickleScanResult": "Danger"}, "dangerous by pickle", False),
    "pending": ({"virusScanResult": "Pending"}, "virus scan: Pending", True),
    "error": ({"pickleScanResult": "Error"}, "pickle scan: Error", True),
    "missing": ({"pickleScanResult": None, "virusScanResult": None}, "not verified", True),
    "another word": ({"virusScanResult": "success?"}, "not verified", True),
    "no hash": ({"hashes": {}}, "no published SHA-256", True),
    "a bad hash": ({"hashes": {"SHA256": "xyz"}}, "no published SHA-256", True),
}


@pytest.mark.parametrize("case", SCANS)
def test_what_is_not_verified(net: Net, body: bytes, case: str) -> None:
    file, reason, can_be_taken = SCANS[case]
    net.offer(body, **file)
    with pytest.raises(UserError, match=reason):
        net.fetch()
    assert net.storage.asked == []
    if can_be_taken:
        assert net.fetch(Terms(unverified=True))[-1].path.read_bytes() == body
    else:
        with pytest.raises(UserError, match=reason):
            net.fetch(Terms(unverified=True))


def test_pickles_only_when_asked_for(net: Net, tmp_path: Path) -> None:
    torch.save({"string_to_param": {"*": torch.zeros(1, 768)}, "name": "old"}, tmp_path / "old.pt")
    body = (tmp_path / "old.pt").read_bytes()
    net.offer(body, name="old.pt", metadata={"format": "PickleTensor"})
    with pytest.raises(UserError, match="--pickle"):
        net.fetch()
    events = net.fetch(Terms(pickle=True))
    assert events[-1].path == net.shelf.root / "embeddings" / "old.pt"
    assert any(isinstance(event, Told) and "goes to their folder" in event.message for event in events)
    net.shelf.store._db.execute("DELETE FROM answers")
    events[-1].path.unlink()
    list(scan(net.shelf.store, net.shelf.root, net.shelf.reader))
    net.offer(body, name="old.safetensors")
    with pytest.raises(UserError, match="calls itself safetensors"):
        net.fetch(Terms(pickle=True))
    assert net.files() == net.left() == []


def test_programs_in_pickles_do_not_run(net: Net, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path}/ran",)

    torch.save({"state_dict": Evil()}, tmp_path / "evil.ckpt")
    net.offer((tmp_path / "evil.ckpt").read_bytes(), name="evil.ckpt", metadata={"format": "PickleTensor"})
    with pytest.raises(UserError, match=r"evil\.ckpt"):
        net.fetch(Terms(pickle=True))
    assert not (tmp_path / "ran").exists()
    assert net.files() == net.left() == []


def test_what_is_no_model(net: Net, tmp_path: Path) -> None:
    from safetensors.torch import save

    for body, reason in (
        (b"\x10" * 5000, "neither a safetensors"),
        (save({"upscale.weight": torch.zeros(3, 3), "other": torch.zeros(2, 2)}), "no checkpoint, LoRA or embedding"),
        (save({f"{LAYER}.lora_down.weight": torch.zeros(2, 768)})[:-40], "cut short"),
    ):
        net.shelf.store._db.execute("DELETE FROM answers")
        net.offer(body)
        with pytest.raises(UserError, match=reason) as caught:
            net.fetch()
        assert "part " not in str(caught.value)
        assert net.files() == net.left() == []


@pytest.mark.parametrize(
    "name",
    ["../../../etc/cron.d/x.safetensors", "..\\..\\x.safetensors", "/etc/passwd", "C:\\Windows\\x.safetensors", "CON",
     "..", ".hidden.safetensors", "a\x00b\n.safetensors", "\u202egpj.safetensors", "x" * 5000, "",
     "<script>.safetensors", "a.safetensors.exe", "-rf.safetensors", "é\ud800.safetensors"],
)  # fmt: skip
def test_hostile_names_stay_in_their_folder(net: Net, body: bytes, name: str) -> None:
    net.offer(body, name=name)
    path = net.fetch()[-1].path
    assert path.parent == net.shelf.root / "Lora"
    assert path.suffix == ".safetensors"
    assert path.stem.isprintable()
    assert path.stem[0] not in ".- "
    assert len(path.name.encode()) < 250
    assert len(net.files()) == 1


def test_a_name_that_only_the_storage_says(net: Net, body: bytes) -> None:
    net.offer(
        body, serve(body, Content_Disposition="attachment; filename*=UTF-8''..%2F..%2Fin%20k.safetensors"), name=""
    )
    assert net.fetch()[-1].path.name == "in k.safetensors"


def test_a_folder_that_is_a_link_out(net: Net, body: bytes, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (net.shelf.root / "Lora").symlink_to(tmp_path / "elsewhere")
    net.offer(body)
    with pytest.raises(UserError, match="link that leads out"):
        net.fetch()
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_a_file_system_without_links(net: Net, body: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", none)
    other = lora(net.shelf.root / "Lora" / "ink_wash.safetensors", seed=1, rank=2)
    before = other.read_bytes()
    net.offer(body)
    assert net.fetch()[-1].path.read_bytes() == body
    assert other.read_bytes() == before


def test_two_at_once(net: Net, body: bytes) -> None:
    from limner.files import locked

    net.offer(body, cut(body, 4000))
    with pytest.raises(UserError):
        net.fetch()
    (staging,) = (net.shelf.root / STAGING).iterdir()
    with locked(staging), pytest.raises(UserError, match="another limner"):
        net.fetch()


def test_which_of_several_files(net: Net, body: bytes, site: Site) -> None:
    told = version(site, body)
    main = told["files"][0]
    told["files"] = [
        main | {"id": 1, "name": "vae.pt", "type": "VAE", "metadata": {"format": "PickleTensor"}, "primary": False},
        main | {"id": 2, "name": "full.ckpt", "metadata": {"format": "PickleTensor"}},
        main | {"id": 3, "name": "half.safetensors", "primary": False},
    ]
    net.offer(body)
    site.answer("/api/v1/model-versions/22", told)
    assert net.fetch()[0].file.name == "half.safetensors"
    with pytest.raises(UserError, match=r"vae\.pt, full\.ckpt, half\.safetensors"):
        net.fetch(Terms(file="nothing"))
    told["model"]["type"] = "Controlnet"
    site.answer("/api/v1/model-versions/22", told)
    net.shelf.store._db.execute("DELETE FROM answers")
    with pytest.raises(UserError, match="is a Controlnet"):
        net.fetch()


@pytest.mark.usefixtures("same_reader")
def test_the_commands(
    net: Net,
    body: bytes,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    sites: Callable[..., Site],
) -> None:
    from limner.cli import main

    monkeypatch.setenv("LIMNER_CIVITAI", net.site.url)
    monkeypatch.setenv("CIVITAI_API_KEY", SECRET)
    net.offer(body)
    own = ["--models", str(net.shelf.root)]
    assert main(["download", "civitai:11@22", *own, "--json"]) == 0
    told = capsys.readouterr()
    found = json.loads(told.out.splitlines()[-1])
    assert (found["kind"], found["keywords"], found["was_here"]) == ("lora", ["inkw", "ink wash style"], False)
    assert "<lora:ink_wash:1>" in told.err
    assert main(["download", "civitai:11@22", *own]) == 0
    assert "here already" in capsys.readouterr().err
    assert main(["models", "inkw", *own]) == 0
    assert "ink_wash" in capsys.readouterr().out
    assert main(["download", "civitai:what", *own]) == 2
    assert SECRET not in told.out + told.err
