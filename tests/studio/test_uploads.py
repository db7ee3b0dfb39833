"""What is uploaded over real HTTP: zips, names that are taken, too much, and what is no form."""

import io
import tomllib
import zipfile

import pytest
from photos import photo
from studio.filled import checked, encoded, make, send
from studio.served import BASE, Served


def test_a_zip_is_unpacked_by_a_worker(studio: Served) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("roll/a.png", encoded(photo(160, 128, 7), "PNG"))
        archive.writestr("roll/a.txt", "a caption")
        archive.writestr("../../out.png", encoded(photo(160, 128, 8), "PNG"))
        archive.writestr("__MACOSX/._a.png", b"x")
        archive.writestr("zeros.png", bytes(50_000_000))
        archive.writestr("inner.zip", b"PK")
    number = make(studio, base=BASE)
    answer = send(studio, number, {"roll.zip": stream.getvalue(), "broken.zip": b"PK\x03\x04 no"})
    assert answer["zips"] == 2
    found = checked(studio, number, answer["job"])
    assert set(found) == {"roll/a.png", "out.png"}
    assert found["roll/a.png"]["caption"] == "a caption"
    skipped = {each["name"]: each["why"] for each in studio.get(f"/api/datasets/{number}")["skipped"]}
    assert "packed so tightly" in skipped["zeros.png"]
    assert "zip inside a zip" in skipped["inner.zip"]
    assert "pack it again" in skipped["broken.zip"]
    assert not list(studio.folder.parent.glob("*.png"))


def test_names_that_are_taken_get_a_number_with_what_belongs_to_them(studio: Served) -> None:
    number = make(studio)
    first = encoded(photo(80, 80, 1), "PNG")
    send(studio, number, {"a.png": first, "a.txt": b"one"})
    assert send(studio, number, {"a.png": first, "a.txt": b"one"}) == {
        "added": 0,
        "zips": 0,
        "same": 2,
        "skipped": [],
        "job": None,
    }
    send(studio, number, {"a.txt": b"two", "a.png": encoded(photo(80, 80, 2), "PNG"), "a.mask.png": first})
    originals = studio.folder / "datasets" / str(number) / "originals"
    assert sorted(path.name for path in originals.iterdir()) == ["a-2.mask.png", "a-2.png", "a-2.txt", "a.png", "a.txt"]
    assert (originals / "a.txt").read_text() == "one"
    listed = {each["name"]: each["number"] for each in studio.get(f"/api/datasets/{number}")["pictures"]}
    assert set(listed) == {"a.png", "a-2.png"}
    studio.client.patch(f"/api/datasets/{number}/pictures/{listed['a-2.png']}", json={"keep": True})
    studio.post(f"/api/datasets/{number}/remove", {"numbers": [listed["a-2.png"]]})
    assert sorted(path.name for path in originals.iterdir()) == ["a.png", "a.txt"]
    choices = tomllib.loads((originals.parent / "prepared" / "choices.toml").read_text())
    assert not choices["pictures"].get("a-2.png")
    job = studio.post(f"/api/datasets/{number}/remove", {"numbers": [listed["a.png"]]})["job"]
    assert checked(studio, number, job) == {}
    assert not list(originals.iterdir())


def test_too_many_and_too_large_are_refused_whole(studio: Served) -> None:
    number = make(studio)
    boundary = b"x" * 20
    part = b'--%s\r\nContent-Disposition: form-data; name="files"; filename="%d.png"\r\n\r\nx\r\n'
    body = b"".join(part % (boundary, at) for at in range(10_001)) + b"--" + boundary + b"--\r\n"
    headers = {"content-type": f"multipart/form-data; boundary={boundary.decode()}"}
    answer = studio.client.post(f"/api/datasets/{number}/files", content=body, headers=headers)
    assert answer.status_code == 413
    assert "10,000" in answer.json()["detail"]
    assert studio.get(f"/api/datasets/{number}")["pictures"] == []
    assert not list((studio.folder / "datasets" / str(number) / "originals").iterdir())
    assert not list((studio.folder / "datasets" / str(number)).glob("incoming-*"))


FORM = "multipart/form-data; boundary=abc"
PART = b"--abc\r\nContent-Disposition: form-data; "


@pytest.mark.parametrize(
    ("content_type", "body", "says"),
    [
        ("application/json", b"{}", "as a form"),
        (FORM, b"no form at all", "damaged"),
        (FORM, b"", "no file"),
        (
            FORM,
            PART + b'name="x"\r\n\r\n1\r\n--abc--',
            "no file",
        ),
        (
            FORM,
            PART + b'filename="a.png"\r\n\r\nhalf',
            "in the middle",
        ),
    ],
)
def test_what_is_no_form_is_told(studio: Served, content_type: str, body: bytes, says: str) -> None:
    number = make(studio)
    answer = studio.client.post(f"/api/datasets/{number}/files", content=body, headers={"content-type": content_type})
    assert answer.status_code == 400
    assert says in answer.json()["detail"]
