"""Sets of pictures over real HTTP: uploaded, checked in a worker, edited, and prepared as the choices say."""

import io
import json
import zlib
from typing import Any

import numpy as np
import pytest
from photos import photo
from PIL import Image
from pillow_heif import from_pillow
from studio.filled import checked, encoded, make, send
from studio.served import BASE, Served

from limner.api import finish
from limner.config import PrepareSettings
from limner.preparation.prepare import preparing
from limner.studio.sets import clean_name

GPS = 0x8825
EXIF_IFD_ORIENTATION = 0x0112


def turned_with_gps(seed: int) -> bytes:
    """A photo of 400x300 stored on its side, which says where it was taken."""
    exif = Image.Exif()
    exif[EXIF_IFD_ORIENTATION] = 6
    exif[GPS] = {1: "N", 2: (48.0, 12.0, 1.0), 3: "E", 4: (11.0, 30.0, 2.0)}
    stored = photo(400, 300, seed).transpose(Image.Transpose.ROTATE_90)
    return encoded(stored, exif=exif, quality=95)


def heic(seed: int) -> bytes:
    stream = io.BytesIO()
    from_pillow(photo(400, 300, seed)).save(stream, quality=90)
    return stream.getvalue()


def bomb() -> bytes:
    """A PNG of 60,000 x 60,000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    header = (60_000).to_bytes(4, "big") * 2 + bytes([1, 0, 0, 0, 0])
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(10))) + chunk(b"IEND", b"")
    )


NAMES = {
    "../../../evil.jpg": "evil.jpg",
    "C:\\pictures\\cat.jpg": "C_/pictures/cat.jpg",
    "/etc/passwd.png": "etc/passwd.png",
    "ärger/ÖL 🐶.jpg": "ärger/ÖL 🐶.jpg",
    "con.jpg": "picture.jpg",
    "<img onerror=x>.jpg": "_img onerror=x_.jpg",
    "a\u202egpj.exe.jpg": "agpj.exe.jpg",
}


def test_a_mixed_drop_is_checked_by_itself(studio: Served) -> None:
    number = make(studio, **{"class": "dog", "keyword": "zqvx", "base": BASE})
    hostile = {told: encoded(photo(80, 80, 100 + at)) for at, told in enumerate(NAMES)}
    before = set(studio.folder.parent.rglob("*.jpg"))
    answer = send(
        studio,
        number,
        hostile
        | {
            "roll/turned.jpg": turned_with_gps(1),
            "phone.heic": heic(2),
            "fine.png": encoded(photo(400, 300, 3), "PNG"),
            "fine.txt": b"zqvx dog on a chair",
            "lies.jpg": b"this is no picture\n",
            "bomb.png": bomb(),
            "again.jpg": encoded(photo(400, 300, 3), quality=70),
            "notes.pdf": b"%PDF",
            ".DS_Store": b"x",
        },
    )
    assert (answer["added"], answer["same"]) == (7 + len(NAMES), 0)
    assert [each["name"] for each in answer["skipped"]] == ["notes.pdf"]
    found = checked(studio, number, answer["job"])
    expected = set(NAMES.values()) - {"C_/pictures/cat.jpg"} | {"cat.jpg"}  # the form's reader cuts drives off
    assert expected <= set(found)
    originals = studio.folder / "datasets" / str(number) / "originals"
    assert all(path.is_relative_to(originals) for path in set(studio.folder.parent.rglob("*.jpg")) - before)
    assert found["roll/turned.jpg"]["width"] == 400
    kinds = {name: {each["kind"] for each in picture["findings"]} for name, picture in found.items()}
    assert {"orientation", "location"} <= kinds["roll/turned.jpg"]
    assert found["phone.heic"]["kept"], found["phone.heic"]["why"]
    assert found["lies.jpg"]["mark"] == found["bomb.png"]["mark"] == "unusable"
    assert "too many pixels" in found["bomb.png"]["why"]
    assert not found["again.jpg"]["kept"]
    assert "fine.png" in found["again.jpg"]["why"]
    assert found["fine.png"]["caption"] == "zqvx dog on a chair"
    assert found["fine.png"]["caption_from"] == "own"
    assert found["phone.heic"]["caption"] == "zqvx dog"
    left, top, right, bottom = found["phone.heic"]["crop"]
    assert 0 <= left < right <= 1
    assert 0 <= top < bottom <= 1
    thumbnail = studio.client.get(f"/api/datasets/{number}/pictures/{found['roll/turned.jpg']['number']}/thumbnail")
    assert thumbnail.headers["content-type"] == "image/webp"
    small = Image.open(io.BytesIO(thumbnail.content))
    assert small.size == (320, 240)
    assert not small.getexif()
    upright = np.asarray(photo(400, 300, 1).resize((32, 24)), float)
    assert np.abs(np.asarray(small.convert("RGB").resize((32, 24)), float) - upright).mean() < 12
    assert str(studio.folder) not in json.dumps(studio.get(f"/api/datasets/{number}"))


@pytest.mark.parametrize(("told", "kept"), NAMES.items())
def test_hostile_names_are_cleaned(told: str, kept: str) -> None:
    assert clean_name(told) == (kept, "")


def test_what_is_edited_is_what_is_prepared(studio: Served) -> None:
    """check -> edit -> prepare, and the command line makes the same of it."""
    number = make(studio, **{"class": "dog", "keyword": "zqvx", "base": BASE})
    files = {f"{at}.png": encoded(photo(160, 128, at), "PNG") for at in range(4)} | {"3.txt": b"my own words"}
    found = checked(studio, number, send(studio, number, files)["job"])
    assert all(picture["kept"] for picture in found.values()), found
    numbers = {name: picture["number"] for name, picture in found.items()}

    def decide(name: str, **said: Any) -> Any:
        answer = studio.client.patch(f"/api/datasets/{number}/pictures/{numbers[name]}", json=said)
        assert answer.status_code == 200, answer.text
        return answer.json()

    assert decide("0.png", keep=False)["why"] == "by hand"
    changed = decide("1.png", crop=[0.5, 0, 1, 1], caption="zqvx dog\n to the right")
    assert (changed["caption"], changed["caption_from"]) == ("zqvx dog to the right", "by hand")
    address = f"/api/datasets/{number}/pictures/{numbers['2.png']}"
    json_type = {"content-type": "application/json"}
    for body in (b'{"caption": "\\ud800"}', b'{"crop": [NaN, 0, 1, 1]}', b'{"crop": [0.5, 0, 0.5, 1]}'):
        assert studio.client.patch(address, content=body, headers=json_type).status_code in (400, 422)
    assert "PNG" in studio.client.put(f"{address}/mask", content=b"GIF89a").json()["detail"]
    assert decide("2.png", caption="soon\x07 \u202e undone\r\n ")["caption"] == "soon undone"
    decide("2.png", caption=None)
    mask = Image.new("L", (160, 128), 0)
    mask.paste(255, (0, 0, 80, 128))
    answer = studio.client.put(f"/api/datasets/{number}/pictures/{numbers['2.png']}/mask", content=encoded(mask, "PNG"))
    assert answer.json()["mask"] == "by hand"
    edits = {"add": "indoors", "write": True}
    changes = studio.post(f"/api/datasets/{number}/captions", edits)["changes"]
    assert {each["after"] for each in changes} == {
        "zqvx dog to the right, indoors",
        "zqvx dog, indoors",
        "zqvx, my own words, indoors",
    }
    job = studio.give("prepare", dataset=number, keyword="zqvx", base=BASE, **{"class": "dog"})
    done = studio.until(job, "done", "failed")
    assert done["status"] == "done", done["error"]
    assert (done["result"]["kept"], done["result"]["masks"]) == (3, 1)
    prepared = studio.folder / "datasets" / str(number) / "prepared"
    told = [json.loads(line) for line in (prepared / "decisions.jsonl").read_text().splitlines()]
    by_name = {each["source"]: each for each in told}
    assert not by_name["0.png"]["kept"]
    assert by_name["1.png"]["crop"][0] >= 80
    assert by_name["2.png"]["mask_from"] is not None
    for name, text in {"1.png": "zqvx dog to the right, indoors", "3.png": "zqvx, my own words, indoors"}.items():
        assert (prepared / by_name[name]["file"]).with_suffix(".txt").read_text().strip() == text
    written = Image.open(prepared / by_name["2.png"]["mask"])
    assert written.size == Image.open(prepared / by_name["2.png"]["file"]).size
    assert 0.3 < np.asarray(written).mean() / 255 < 0.7

    settings = PrepareSettings(
        images=prepared.parent / "originals",
        out=prepared,
        base=str(studio.models / BASE),
        keyword="zqvx",
        class_word="dog",
        subject="animal",
    )
    before = {path: path.read_bytes() for path in (prepared / "images").rglob("*") if path.is_file()}
    again = finish(preparing(settings))
    assert (again.kept, again.written) == (3, 0)
    assert {path: path.read_bytes() for path in (prepared / "images").rglob("*") if path.is_file()} == before


def test_odd_requests_are_answered_in_sentences(studio: Served) -> None:
    number = make(studio, name="odd")
    client = studio.client
    assert client.get("/api/datasets/99999").status_code == 404
    assert client.patch(f"/api/datasets/{number}/pictures/5", json={"keep": True}).status_code == 400
    assert client.get(f"/api/datasets/{number}/pictures/5/thumbnail").status_code == 404
    assert client.post("/api/datasets", json={"name": "a\x00b"}).status_code == 422
    answer = client.post(f"/api/datasets/{number}/remove", json={"numbers": [1]})
    assert "load the page again" in answer.json()["detail"]
    for request in (
        {"more": {"images": "/etc"}},
        {"preparing": {"masks": "/etc"}},
        {"preparing": {"mask_model": "/x/y"}},
    ):
        answer = client.post("/api/jobs", json={"kind": "train", "request": request})
        assert answer.status_code == 400
        assert "a place on this machine" in answer.json()["detail"]
    assert studio.client.delete(f"/api/datasets/{number}").status_code == 204
    assert client.get(f"/api/datasets/{number}").status_code == 404


def test_a_training_prepares_its_set_first(studio: Served) -> None:
    asked = ask_for_training(studio)
    job = studio.until(studio.give("train", **asked), "done", "failed")
    assert job["status"] == "done", job["error"]
    assert [each["file"] for each in job["result"]["files"]] == ["zqvx.safetensors"]
    prepared = studio.folder / "datasets" / str(asked["dataset"]) / "prepared"
    assert len(list((prepared / "images").glob("*.png"))) == 3


@pytest.mark.slow  # two more workers that load a model
@pytest.mark.slow
def test_a_training_is_tried_out(studio: Served) -> None:
    asked = ask_for_training(studio)
    tried = studio.until(studio.give("dryrun", **asked), "done", "failed")
    assert tried["status"] == "done", tried["error"]
    assert tried["result"]["seconds"] > 0
    told = studio.get(f"/api/methods?base={BASE}&dataset={asked['dataset']}")
    lora = next(each for each in told if each["name"] == "lora")
    assert lora["seconds_from"] == "tried"
    assert lora["seconds"] == tried["result"]["seconds"]
    none = studio.until(studio.give("train", **asked | {"dataset": 4711}), "done", "failed")
    assert "no set of pictures 4711" in none["error"]


@pytest.mark.slow  # a keyword is measured against dozens of others
def test_a_keyword_is_judged_by_the_base(studio: Served) -> None:
    asked = {"keyword": "zqvx", "class": "dog", "base": BASE, "count": 1, "drawing_steps": 1, "proposals": 1}
    job = studio.until(studio.give("keyword", **asked), "done", "failed")
    assert job["status"] == "done", job["error"]
    assert job["result"]["short"].startswith("zqvx: ")
    assert job["result"]["verdict"] in ("good", "fair", "poor", "unknown")


def ask_for_training(studio: Served) -> dict[str, Any]:
    number = make(studio, **{"class": "dog", "keyword": "zqvx", "base": BASE})
    send(studio, number, {f"{at}.png": encoded(photo(160, 128, at), "PNG") for at in range(3)})
    more = {
        "steps": 2,
        "batch_size": 1,
        "resolution": 64,
        "previews": 0,
        "measure_every": 0,
        "stop": "never",
        "held_out": 0,
        "milestones": 0,
        "lora": {"rank": 2},
    }
    return {"dataset": number, "keyword": "zqvx", "class": "dog", "base": BASE, "more": more}
