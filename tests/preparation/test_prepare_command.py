"""`limner prepare` from a messy folder to a data set that trains."""

import json
from pathlib import Path

import pytest
from PIL import Image
from preparation.pictures import contents, photo, photos

import limner
from limner.cli import main
from limner.data.dataset import load
from limner.data.layout import find_dataset

SIZE = ("--resolution", "128", "--workers", "1")


def prepare(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict:
    """What the command answers; it must end well."""
    status = main([*map(str, ("prepare", *arguments)), *SIZE, "--json", "--quiet"])
    captured = capsys.readouterr()
    assert status == 0, captured.err
    return json.loads(captured.out.splitlines()[-1])


def decisions(out: Path) -> dict[str, dict]:
    lines = (out / "decisions.jsonl").read_text().splitlines()
    return {each["source"]: each for each in map(json.loads, lines)}


def test_a_messy_folder_becomes_a_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, out = photos(tmp_path / "photos", 3), tmp_path / "out"
    (images / "IMG_1.txt").write_text("asleep on a chair")
    (images / "sub").mkdir()
    photo(7, 200, 300).save(images / "sub" / "tall.jpg", quality=95)
    photo(0).save(images / "sub" / "twin.png")
    (images / "broken.jpg").write_bytes(b"\xff\xd8\xff nothing")
    photo(9, 40, 30).save(images / "tiny.png")
    answer = prepare(capsys, images, out, "--keyword", "zqvx", "--class", "dog")
    assert (answer["pictures"], answer["kept"]) == (7, 4)
    told = decisions(out)
    assert [name for name, each in told.items() if not each["kept"]] == ["broken.jpg", "sub/twin.png", "tiny.png"]
    assert "IMG_0.png" in told["sub/twin.png"]["why"]
    tall = told["sub/tall.jpg"]
    assert tall["size"][0] < tall["size"][1]
    assert tall["lost"] < 0.2
    [loaded] = load(find_dataset(out))
    captions = {picture.path.name: picture.caption for picture in loaded.pictures}
    assert captions["0002-IMG-1.png"] == "zqvx, asleep on a chair"
    assert set(captions.values()) == {"zqvx dog", "zqvx, asleep on a chair"}
    for picture in loaded.pictures:
        assert [picture.width, picture.height] in [each.get("size") for each in told.values()]
        assert Image.open(picture.path).info == {}
    assert (loaded.part.keyword, loaded.part.class_word, find_dataset(out).warnings) == ("zqvx", "dog", ())


def test_a_second_run_writes_nothing_anew(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    images, out = photos(tmp_path / "photos", 3), tmp_path / "out"
    assert prepare(capsys, images, out)["written"] == 3
    before = {path: path.stat().st_mtime_ns for path in (out / "images").iterdir() if path.suffix != ".jsonl"}
    held = contents(out)
    assert prepare(capsys, images, out)["written"] == 0
    assert contents(out) == held
    assert before == {path: path.stat().st_mtime_ns for path in before}


def test_from_python(tmp_path: Path) -> None:
    made = limner.prepare(photos(tmp_path / "photos", 2), tmp_path / "out", resolution=128, workers=1)
    assert made.kept == 2
    assert made.page.parent == tmp_path / "out"
