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
from studio.served import BASE, Served

from limner.studio.sets import clean_name

GPS = 0x8825
EXIF_IFD_ORIENTATION = 0x0112


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


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


def make(studio: Served, **wishes: Any) -> int:
    return studio.post("/api/datasets", {"name": "test"} | wishes)["id"]


def send(studio: Served, number: int, files: dict[str, bytes]) -> Any:
    answer = studio.client.post(
        f"/api/datasets/{number}/files", files=[("files", (name, data)) for name, data in files.items()]
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def checked(studio: Served, number: int, job: Any) -> dict[str, dict[str, Any]]:
    """The set's pictures by name, after its check."""
    done = studio.until(job["id"], "done", "failed")
    assert done["status"] == "done", done["error"]
    return {each["name"]: each for each in studio.get(f"/api/datasets/{number}")["pictures"]}


def test_a_mixed_drop_is_checked_by_itself(studio: Served) -> None:
    number = make(studio, **{"class": "dog", "keyword": "zqvx", "base": BASE})
    answer = send(
        studio,
        number,
        {
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
    assert (answer["added"], answer["same"]) == (7, 0)
    assert [each["name"] for each in answer["skipped"]] == ["notes.pdf"]
    found = checked(studio, number, answer["job"])
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


NAMES = {
    "../../../evil.jpg": "evil.jpg",
    "C:\\pictures\\cat.jpg": "C_/pictures/cat.jpg",
    "/etc/passwd.png": "etc/passwd.png",
    "ärger/ÖL 🐶.jpg": "ärger/ÖL 🐶.jpg",
    "con.jpg": "picture.jpg",
    "<img onerror=x>.jpg": "_img onerror=x_.jpg",
    "a\u202egpj.exe.jpg": "agpj.exe.jpg",
}


@pytest.mark.parametrize(("told", "kept"), NAMES.items())
def test_hostile_names_are_cleaned(told: str, kept: str) -> None:
    assert clean_name(told) == (kept, "")


def test_hostile_names_stay_inside_their_set(studio: Served) -> None:
    number = make(studio)
    before = {path for path in studio.folder.parent.rglob("*.jpg") if path.is_file()}
    send(studio, number, {told: encoded(photo(80, 80, at)) for at, told in enumerate(NAMES)})
    names = {each["name"] for each in studio.get(f"/api/datasets/{number}")["pictures"]}
    assert names == set(NAMES.values()) - {"C_/pictures/cat.jpg"} | {"cat.jpg"}  # the form's reader cuts drives off
    originals = studio.folder / "datasets" / str(number) / "originals"
    new = {path for path in studio.folder.parent.rglob("*.jpg") if path.is_file()} - before
    assert all(path.is_relative_to(originals) for path in new)
