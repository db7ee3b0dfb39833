"""Captions on their way: from a person's table through prepare, an edit in bulk, prepare again, and into training."""

import json
import shutil
from pathlib import Path

import pytest

from limner.cli import main
from limner.data.dataset import load
from limner.data.layout import find_dataset

TRAIN = Path(__file__).parents[2] / "recipes" / "subjects" / "cactus" / "train"


def read(out: Path) -> dict[str, str | None]:
    """What training reads, which must be what the table says."""
    found = {picture.path.name: picture.caption for each in load(find_dataset(out)) for picture in each.pictures}
    lines = (out / "images" / "metadata.jsonl").read_text(encoding="utf-8").splitlines()
    assert {row["file_name"]: row["text"] for row in map(json.loads, lines)} == found
    return found


def test_an_edit_in_bulk_survives_preparing_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name in ("05-classic.png", "06-glossy.png", "08-rounded.png"):
        shutil.copy(TRAIN / name, photos)
    (photos / "metadata.jsonl").write_text('{"file_name": "05-classic.png", "text": "in a pot"}\n')
    prepare = [
        "prepare", str(photos), str(out), "--keyword", "gfvx", "--class", "tree", "--captioner", "pixels",
        "--resolution", "128", "--workers", "1", "--quiet",
    ]  # fmt: skip
    long = ", ".join(["gfvx"] * 40)
    (photos / "08-rounded.caption").write_text(long)
    assert main(prepare) == 0
    assert "1 caption has more than 75 tokens (images/0003-08-rounded.png)" in capsys.readouterr().err
    first = {
        "0001-05-classic.png": "gfvx, in a pot", "0002-06-glossy.png": "gfvx tree, yellow background",
        "0003-08-rounded.png": long,
    }  # fmt: skip
    assert read(out) == first
    assert main(["captions", str(out), "--add", "indoors", "--write", "--quiet"]) == 0
    assert read(out) == {name: f"{text}, indoors" for name, text in first.items()}
    assert main(prepare) == 0
    assert read(out) == {name: f"{text}, indoors" for name, text in first.items()}
    assert main(["captions", str(out), "--undo", "--quiet"]) == 0
    assert read(out) == first
    assert main(prepare) == 0
    assert read(out) == first


@pytest.mark.slow  # it starts processes twice
def test_captions_are_the_same_whatever_the_number_of_workers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("limner.preparation.describe.FEW", 0)
    photos = tmp_path / "photos"
    photos.mkdir()
    for path in sorted(TRAIN.glob("*.png"))[:8]:
        shutil.copy(path, photos)
    found = []
    for workers in ("1", "2"):
        prepare = ["prepare", str(photos), str(tmp_path / workers), "--keyword", "gfvx", "--captioner", "pixels"]
        assert main([*prepare, "--resolution", "128", "--workers", workers, "--quiet"]) == 0
        found.append(read(tmp_path / workers))
    assert found[0] == found[1]
    assert len(set(found[0].values())) > 2
