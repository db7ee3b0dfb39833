"""The command line: options from settings, exit statuses, --json, and what bad input gets."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from limner.cli import main
from limner.cli.output import duration

KINDS = [
    "demo", "check", "prepare", "captions", "keyword", "train", "dreambooth", "resume", "generate", "grid", "evaluate",
    "compare", "inspect", "convert", "extract", "merge", "resize", "search", "download", "models",
]  # fmt: skip


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands run in a folder of their own, with a cache of their own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("LIMNER_MODELS", raising=False)


def photos(folder: Path, count: int = 2) -> Path:
    folder.mkdir()
    for index in range(count):
        Image.new("RGB", (80, 72), (40 * index, 90, 200)).save(folder / f"{index}.png")
    return folder


def files(folder: Path) -> set[str]:
    """Everything below a folder but the cache of encoded pictures."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if "cache" not in path.parts}


def sentence(capsys: pytest.CaptureFixture[str]) -> str:
    """What the command said last on stderr, which must be its only complaint."""
    complaints = [line for line in capsys.readouterr().err.splitlines() if line.startswith("limner: ")]
    assert len(complaints) == 1
    return complaints[0]


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], *([verb, "--help"] for verb in KINDS)])
def test_help_loads_no_torch(arguments: list[str]) -> None:
    code = (
        "import sys; from limner.cli import main; status = main(sys.argv[1:]); "
        "assert not {'torch', 'numpy', 'PIL', 'diffusers'} & set(sys.modules); sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_importing_limner_loads_no_torch() -> None:
    code = "import sys, limner; assert 'torch' not in sys.modules and 'pydantic' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


MISTAKES = {
    "a misspelt command": (["trian"], "train"),
    "a misspelt option": (["train", "x", "--keyword", "k", "--stpes", "3"], "--steps"),
    "a value of the wrong kind": (["train", "x", "--keyword", "k", "--steps", "many"], "--steps"),
    "a value out of bounds": (["train", "x", "--keyword", "k", "--steps", "0"], "steps = 0"),
    "an unknown choice": (["train", "x", "--keyword", "k", "--optimizer", "adam"], "adamw"),
    "a missing keyword": (["train", "x"], "keyword is missing"),
    "an empty keyword": (["train", "x", "--keyword", " "], "keyword"),
    "a misspelt setting": (["train", "x", "--keyword", "k", "--set", "batchsize=2"], "'batch_size'"),
    "a misspelt table": (["train", "x", "--keyword", "k", "--set", "lroa.rank=2"], "[lora]"),
    "a misspelt method setting": (["train", "x", "--keyword", "k", "--set", "lora.rnak=2"], "'rank'"),
    "a method setting out of bounds": (["train", "x", "--keyword", "k", "--rank", "0"], "rank = 0"),
    "an unknown method": (["train", "x", "--keyword", "k", "--method", "lara"], "lora"),
    "a setting given twice": (["train", "x", "--keyword", "k", "--steps", "3", "--set", "steps=4"], "twice"),
    "no value to set": (["train", "x", "--keyword", "k", "--set", "steps"], "name=value"),
    "a rate for prodigy": (
        ["train", "x", "--keyword", "k", "--optimizer", "prodigy", "--learning-rate", "1e-4"],
        "learning rate",
    ),
    "a warm-up of the whole run": (["train", "x", "--keyword", "k", "--steps", "5", "--warmup-steps", "5"], "warmup"),
    "a prompt for no previews": (
        ["train", "x", "--keyword", "k", "--previews", "0", "--preview-prompt", "a"],
        "previews = 0",
    ),
    "an odd resolution": (["train", "x", "--keyword", "k", "--resolution", "500"], "512"),
    "an unknown field of the template": (["train", "x", "--keyword", "k", "--template", "{name}"], "{name}"),
    "a config that is not there": (["train", "--config", "no.toml"], "no.toml"),
    "no such folder": (["train", "nowhere", "--keyword", "k"], "nowhere"),
    "no run": (["resume", "nowhere"], "nowhere"),
    "an unknown base": (["train", ".", "--keyword", "k", "--base", "no/such-base"], "no/such-base"),
    "an unknown base to draw with": (["generate", "a cat", "--base", "nope"], "'nope'"),
    "no such file": (["inspect", "no.safetensors"], "no.safetensors"),
    "an unknown device": (["generate", "a cat", "--device", "gpu9"], "gpu9"),
    "a file of another kind to write": (["train", ".", "--keyword", "k", "--out", "x.ckpt"], ".safetensors"),
    "a place under a file": (["train", ".", "--keyword", "k", "--out", "a-file/x.safetensors"], "a-file/x.safetensors"),
    "a place that takes no files": (["train", ".", "--keyword", "k", "--out", "/proc/x/y.safetensors"], "/proc/x"),
    "a folder as the file": (["train", ".", "--keyword", "k", "--out", "a.safetensors"], "a.safetensors"),
    "a run folder under a file": (["train", ".", "--keyword", "k", "--run", "a-file/run"], "--run"),
    "pictures to a place under a file": (["generate", "a cat", "--out", "a-file/pictures"], "a-file/pictures"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_named_in_one_sentence_and_nothing_is_written(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a-file").write_text("")
    (tmp_path / "a.safetensors").mkdir()
    before = files(tmp_path)
    arguments, named = MISTAKES[case]
    assert main(arguments) == 2
    assert named in sentence(capsys)
    assert files(tmp_path) == before


def truncated(path: Path) -> None:
    Image.effect_noise((400, 300), 80).convert("RGB").save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def enormous(path: Path) -> None:
    """30,000 x 30,000 pixels in a few hundred kilobytes."""
    Image.new("1", (30_000, 30_000)).save(path)


UNUSABLE = {
    "text.png": (lambda path: path.write_text("not a picture"), "not an image"),
    "cut.jpg": (truncated, "truncated"),
    "vast.png": (enormous, "too many pixels"),
    "nothing.png": (lambda path: path.write_bytes(b""), "empty"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_folder_without_a_usable_picture(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make, reason = UNUSABLE[name]
    (tmp_path / "photos").mkdir()
    make(tmp_path / "photos" / name)
    before = files(tmp_path)
    for verb in (["check", "photos"], ["train", "photos", "--keyword", "zqvx"]):
        assert main(verb) == 2
        complaint = sentence(capsys)
        assert name in complaint
        assert reason in complaint
    assert files(tmp_path) == before


def test_an_empty_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    assert main(["train", "photos", "--keyword", "zqvx"]) == 2
    assert "no images in photos" in sentence(capsys)


def test_check_tells_what_cannot_be_used_and_what_is_there_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = photos(tmp_path / "photos")
    (folder / "copy.png").write_bytes((folder / "1.png").read_bytes())
    (folder / "1.txt").write_text("a blue square")
    (folder / "text.png").write_text("not a picture")
    assert main(["check", "photos", "--json", "--resolution", "64"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [picture["file"] for picture in found["pictures"]] == ["0.png", "1.png", "copy.png"]
    assert found["pictures"][1]["caption"] == "a blue square"
    assert found["skipped"] == [{"file": "text.png", "reason": "is not an image that can be read"}]
    assert found["duplicates"] == [["1.png", "copy.png"]]
    assert main(["check", "photos"]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "a blue square" in shown
    for said in (
        "the same file as 1.png",
        "shows nothing but one colour",
        "leave out: it is not an image",
        "1 cannot be used",
    ):
        assert said in shown


def test_generate_writes_numbered_pictures_with_their_parameters(
    tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generate", "a (cat:1.2", "--base", str(tiny_folder), "--steps", "2", "--precision", "fp32"]
    assert main([*command, "--seed", "5", "--count", "2", "--json"]) == 0
    made = json.loads(capsys.readouterr().out.splitlines()[-1])["pictures"]
    assert [picture["file"] for picture in made] == ["pictures/00001-5.png", "pictures/00002-6.png"]
    assert made[0]["parameters"].startswith("a (cat:1.2\nSteps: 2, ")
    assert main([*command, "--seed", "9"]) == 0
    assert capsys.readouterr().out == "pictures/00003-9.png\n"
    assert main([*command, "--seed", "5", "--out", "one.png", "--quiet"]) == 0
    told = capsys.readouterr()
    assert (told.out, told.err) == ("one.png\n", "")
    assert Image.open("one.png").tobytes() == Image.open("pictures/00001-5.png").tobytes()


@pytest.mark.parametrize("tag", ["<lora:nope:1>", "<lora:../../x:1>", "<lora:/etc/passwd:1>"])
def test_a_lora_that_is_not_there(
    tag: str, tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "models" / "Lora").mkdir(parents=True)
    (tmp_path / "x.safetensors").write_bytes(b"")
    before = files(tmp_path)
    assert main(["generate", f"a cat {tag}", "--base", str(tiny_folder), "--json"]) == 2
    told = capsys.readouterr()
    assert tag.split(":")[1] in told.err
    assert json.loads(told.out)["error"] in told.err
    assert files(tmp_path) == before


def test_json_is_the_last_line_whatever_happens(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "nowhere", "--json"]) == 2
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == {
        "error": "no folder nowhere; give the folder or the zip that holds your pictures"
    }


def test_a_bug_is_status_1(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such luck")

    monkeypatch.setattr("limner.cli.check.check_pictures", broken)
    assert main(["check", "photos"]) == 1
    assert "RuntimeError: no such luck" in capsys.readouterr().err


def test_text_from_files_cannot_move_the_cursor(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = photos(tmp_path / "photos")
    (folder / "0.png").rename(folder / "\x1b[31m[bold]bold[,bold].png")
    assert main(["check", "photos"]) == 0
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[bold]bold[,bold]" in re.sub(r"\s+", "", shown)


def test_durations() -> None:
    assert [duration(seconds) for seconds in (0.4, 59.4, 61, 7500)] == ["0 s", "59 s", "1 min 1 s", "2 h 5 min"]
