"""The demo's path on a tiny base with a tiny budget, and the bundled pictures."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from limner import demo
from limner.cli import main
from limner.data.folder import load_folder
from limner.formats import inspect
from limner.sheet import Row, draw_sheet


@pytest.fixture
def samples(tmp_path: Path) -> Path:
    """Three of the bundled pictures."""
    folder = tmp_path / "samples"
    folder.mkdir()
    for name in ("sample.toml", "cat.png", "cat.txt", "bus.png", "bus.txt", "tulip.png", "tulip.txt"):
        shutil.copy(demo.SAMPLES / name, folder / name)
    return folder


def test_the_bundled_pictures() -> None:
    folder = load_folder(demo.SAMPLES)
    assert len(folder.pictures) == 24
    assert not folder.skipped
    assert len({picture.sha256 for picture in folder.pictures}) == 24
    sample = demo.read_sample(demo.SAMPLES)
    for picture in folder.pictures:
        assert picture.caption is not None
        assert sample.keyword in picture.caption
        assert not any(subject in picture.caption for subject in demo.SUBJECTS)


def test_the_demo(
    tmp_path: Path,
    tiny_folder: Path,
    samples: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(demo, "SUBJECTS", demo.SUBJECTS[:2])
    monkeypatch.setattr(demo, "SAMPLES", samples)
    monkeypatch.setattr(demo, "BASE", str(tiny_folder))
    assert main(["demo", "--steps", "2", "--precision", "fp32", "--json"]) == 0
    told = capsys.readouterr()
    answer = json.loads(told.out.splitlines()[-1])
    assert answer["unchanged_at_0"] is True
    assert answer["steps"] == 2
    with Image.open(tmp_path / "limner-demo" / "sheet.png") as sheet:
        assert min(sheet.size) > 400
    assert inspect(Path(answer["file"])).keyword == "fxm"
    picture = Image.open(tmp_path / "limner-demo" / "picture-1.png")
    assert "<lora:fxm:1>" in picture.info["parameters"]
    command = ["generate", answer["prompt"], "--models", answer["models"], "--base", str(tiny_folder)]
    assert main([*command, "--steps", "1"]) == 0  # the command that it prints works
    capsys.readouterr()
    assert main(["demo", "--steps", "1", "--precision", "fp32"]) == 0  # and it can be run again
    assert "limner generate" in capsys.readouterr().out


def test_a_sheet_holds_pictures_of_any_size() -> None:
    pictures = [Image.new("RGB", size, "red") for size in ((10, 30), (300, 200), (1, 1))]
    sheet = draw_sheet(
        "A title", [Row("Label", "a note", pictures, ["a", "b", "c"]), Row("Two", "", pictures[:1])], ["foot"]
    )
    reds = sum(count for count, colour in sheet.getcolors(1 << 20) or [] if colour == (255, 0, 0))
    assert reds > 30_000
