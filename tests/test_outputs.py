"""What commands write takes no other file's place, and is a file where one was asked for: found out before any work."""

import os
from pathlib import Path

import pytest
from PIL import Image

from limner.cli import main
from limner.cli.check import MARK, PAGE, SHEET
from limner.infotext import marked, next_numbers, save_png


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    for name in ("cat", "dog", "c-2"):
        Image.effect_noise((80, 80), 60).convert("RGB").save(f"photos/{name}.png")
    Path("model.safetensors").write_bytes(b"precious")
    Path("soft.png").symlink_to("photos/cat.png")
    os.link("photos/cat.png", "hard.png")
    Path("mine").mkdir()
    Path("mine/index.html").write_text("my own page")
    Path("mine/sheet.png").write_bytes(Path("photos/cat.png").read_bytes())
    Path("models").mkdir()


MODEL = "model.safetensors"
MASKED = ["--init-image", "photos/dog.png", "--mask", "photos/cat.png"]
THERE = "is there already; give another name with --out, or say --overwrite"
READ = "is what is to be read"
OTHERS = "holds files of something else"
REFUSED = {
    "a training image": (["generate", "a cat", "--out", "photos/cat.png"], THERE),
    "a numbered one": (
        ["generate", "a cat", "--out", "photos/c.png", "--count", "2"],
        "photos/c-2.png is there already",
    ),
    "the picture it starts from": (
        ["generate", "a cat", "--init-image", "photos/cat.png", "--out", "photos/cat.png", "--overwrite"],
        READ,
    ),
    "by a link": (["generate", "a cat", "--init-image", "photos/cat.png", "--out", "soft.png", "--overwrite"], READ),
    "by a hard link": (
        ["generate", "a cat", "--init-image", "hard.png", "--out", "photos/cat.png", "--overwrite"],
        READ,
    ),
    "the mask": (["grid", "a", "--x", "seed=1,2", *MASKED, "--out", "photos/cat.png"], READ),
    "a grid's place": (["grid", "a cat", "--x", "seed=1,2", "--out", "photos/cat.png"], THERE),
    "a folder by a file's name": (["generate", "a cat", "--out", "new.jpg"], "is the name of a file"),
    "a file by a folder's name": (["generate", "a cat", "--out", "model.safetensors"], "is the name of a file"),
    "a keyword's sheet": (["keyword", "zqvx", "--out", "photos/cat.png"], "this command did not write it"),
    "a report among the pictures": (["check", "photos", "--out", "photos/report"], "lies in photos"),
    "a report over other files": (["check", "photos", "--out", "mine"], "mine/sheet.png is there already"),
    "the demo": (["demo", "--out", "photos"], OTHERS),
    "a comparison": (["compare", "photos", "--keyword", "zqvx", "--out", "mine"], OTHERS),
    "a run": (["train", "photos", "--keyword", "zqvx", "--run", "photos"], OTHERS),
    "a model's folder": (
        ["dreambooth", "photos", "--keyword", "zqvx", "--class", "dog", "--diffusers-folder", "x.safetensors"],
        "is the name of a file; give that of a folder",
    ),
    "a base": (
        [
            "train",
            "photos",
            "--keyword",
            "z",
            "--base",
            "model.safetensors",
            "--out",
            "model.safetensors",
            "--overwrite",
        ],
        READ,
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_nothing_is_replaced(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, named = REFUSED[case]
    before = {path: path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()}
    assert main(arguments) == 2
    assert named in capsys.readouterr().err
    assert {path: path.read_bytes() for path in sorted(Path().rglob("*")) if path.is_file()} == before


def test_a_report_of_our_own_is_replaced() -> None:
    Path("report").mkdir()
    Image.new("RGB", (8, 8)).save(Path("report") / SHEET, pnginfo=marked(MARK))
    (Path("report") / PAGE).write_text('<meta name=generator content="limner check">')
    assert main(["check", "photos", "--out", "report", "--resolution", "64", "--workers", "1"]) == 0
    assert main(["check", "photos", "--out", "report", "--resolution", "64", "--workers", "1"]) == 0
    with Image.open(Path("report") / SHEET) as sheet:
        assert sheet.info["Software"] == MARK.decode()


def test_a_number_that_another_process_took_is_not_taken(tmp_path: Path) -> None:
    image = Image.new("RGB", (8, 8))
    wished = tmp_path / "pictures" / "00007-5.png"
    paths = [save_png(image, "", wished, overwrite=False, names=next_numbers) for _ in range(3)]
    assert [path.name for path in paths] == ["00007-5.png", "00008-5.png", "00009-5.png"]


def test_tidying_the_models_folder(capsys: pytest.CaptureFixture[str]) -> None:
    from limner import temporary

    folder = Path("models/Lora/mine")
    folder.mkdir(parents=True)
    left = folder / f".zqvx.limner-{temporary._machine()}-0123abcd.safetensors"
    left.write_bytes(b"x" * 5_000_000)
    (folder / ".zqvx.safetensors").touch()
    part, old = Path("models/.downloads/one"), Path("models/.downloads/old")
    for each in (part, old):
        each.mkdir(parents=True)
        (each / "part").write_bytes(b"beginning")
    os.utime(old / "part", (1e9, 1e9))
    assert main(["models", "tidy", "--models", "models"]) == 0
    told = capsys.readouterr()
    assert "2 unfinished files removed, 5.0 MB" in told.out
    assert "kept: .downloads/one" in told.err
    assert sorted(path.name for path in folder.iterdir()) == [".zqvx.safetensors"]
    assert [path.name for path in part.parent.iterdir()] == ["one"]
    assert main(["models", "tidy", "--models", "models"]) == 0
    assert "nothing to remove" in capsys.readouterr().out
