"""Captions in bulk: nothing of what was there is lost, whatever it was written as."""

import json
from pathlib import Path

import pytest
from PIL import Image

from limner.cli import main


def photos(folder: Path, *names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        Image.new("RGB", (20, 20), (40 * number, 90, 200)).save(folder / name, "PNG")
    return folder


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32-be", "cp1252"])
def test_files_of_any_encoding_are_changed_and_given_back(tmp_path: Path, encoding: str) -> None:
    folder = photos(tmp_path / "photos", "a.png", "B.PNG")
    (folder / "a.TXT").write_bytes("zqvx im Café\r\n".encode(encoding))
    rows = '{"file_name": "b.png", "text": "zqvx am Fluß", "score": 1}\r\n'
    (folder / "Metadata.jsonl").write_bytes(rows.encode(encoding))
    before = snapshot(folder)
    assert main(["captions", str(folder), "--add", "grün", "--write", "--quiet"]) == 0
    assert (folder / "a.TXT").read_text(encoding="utf-8") == "zqvx im Café, grün\n"
    row = json.loads((folder / "Metadata.jsonl").read_text(encoding="utf-8"))
    assert row == {"file_name": "b.png", "text": "zqvx am Fluß, grün", "score": 1}
    assert main(["captions", str(folder), "--undo", "--quiet"]) == 0
    assert snapshot(folder) == before


def test_what_is_added_does_not_take_the_place_of_keyword_and_class(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos(tmp_path / "10_zqvx dog", "a.png", "b.png")
    (folder / "b.txt").write_text("zqvx asleep")
    assert main(["captions", str(tmp_path), "--add", "cinematic", "--json", "--quiet"]) == 0
    changes = json.loads(capsys.readouterr().out.splitlines()[-1])["changes"]
    assert {Path(each["file"]).name: each["after"] for each in changes} == {
        "a.png": "zqvx dog, cinematic",
        "b.png": "zqvx asleep, cinematic",
    }
    other = photos(tmp_path / "other", "a.png")
    assert main(["captions", str(other), "--add", "cinematic", "--json", "--quiet"]) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (answer["changes"], answer["without"]) == ([], ["a.png"])


def test_a_caption_that_cannot_be_told_is_named_and_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photos(tmp_path / "photos", "a.png", "b.png")
    (folder / "a.txt").write_bytes("犬の写真、青い空".encode("shift-jis"))
    (folder / "b.txt").write_text("dog\nor [trigger]")
    assert main(["captions", str(folder), "--add", "x"]) == 0
    err = capsys.readouterr().err
    assert "a.png has a caption file a.txt that is not text in UTF-8" in err
    assert "several lines (b.png)" in err
