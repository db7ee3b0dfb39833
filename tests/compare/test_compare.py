"""`limner compare` from pictures to the page, on the tiny base: it goes on after a stop, and outlives a failure."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from judged import Parsed
from PIL import Image

from limner.cli import main
from limner.compare.advice import advice
from limner.compare.training import steps_of
from limner.files import is_locked
from limner.run.folder import RunFolder


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    (tmp_path / "photos").mkdir()
    for index in range(5):
        Image.effect_noise((64, 64), 20 * (index + 1)).convert("RGB").save(tmp_path / "photos" / f"{index}.png")


def command(base: Path, *more: str) -> list[str]:
    drawing = ["--drawing-steps", "1", "--count", "2", "--precision", "fp32", "--prompt", "a zqvx dog"]
    few = ["--train", "steps=2", "--train", "previews=0", "--train", "crops=0", "--train", "batch_size=1"]
    return ["compare", "photos", "--keyword", "zqvx", "--class", "dog", "--base", str(base), *drawing, *few, *more]


def report() -> dict[str, Any]:
    return json.loads(Path("compare-zqvx/report.json").read_text())


@pytest.mark.slow
def test_a_method_that_fails_is_named_and_can_be_tried_again(
    tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = ["--methods", "lora,embedding"]
    assert main(command(tiny_folder, *methods, "--train", "embedding.vectors=99", "--json")) == 0
    answer = json.loads(capsys.readouterr().out.splitlines()[-1])
    lora, embedding = answer["methods"]
    assert "vectors = 99" in embedding["failure"]
    assert (lora["trained"]["steps"], lora["failure"]) == (2, None)
    file = Path("compare-zqvx/lora/zqvx.safetensors")
    assert lora["trained"]["size_bytes"] == file.stat().st_size
    assert lora["report"]["held_out"]
    assert lora["report"]["references"] == 2
    assert lora["trained"]["peak_memory_bytes"] > 50_000_000
    page = Parsed(Path("compare-zqvx/report.html").read_text())
    assert not page.outside
    assert any("vectors = 99" in text for text in page.texts)
    assert len(page.images) == 3 + 2  # the training pictures; the prompt by the base and by the LoRA
    assert page.texts[-1] == answer["advice"][-1]
    before = file.stat().st_mtime_ns
    assert main(command(tiny_folder, *methods, "--train", "embedding.vectors=2")) == 0
    assert file.stat().st_mtime_ns == before
    assert [each["failure"] for each in report()["methods"]] == [None, None]
    assert "Embedding" in capsys.readouterr().out


MISTAKES = {
    "an unknown method": (["--methods", "lora,lara"], "lora"),
    "a method twice": (["--methods", "lora, lora"], "twice"),
    "none": (["--methods", ","], "no method"),
    "one without pictures": (["--methods", "lora,slider"], "slider"),
    "no such base": (["--base", "no/such-base"], "no/such-base"),
    "no CLIP": (["--clip", "nowhere"], "--clip"),
    "a place under a file": (["--out", "photos/0.png/x"], "--out"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes_are_named_before_anything_is_written(
    case: str, tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, named = MISTAKES[case]
    whole = command(tiny_folder)
    if "--base" in arguments:
        at = whole.index("--base")
        del whole[at : at + 2]
    assert main([*whole, *arguments]) == 2
    assert named in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos"]


@pytest.mark.slow
def test_where_all_fail_the_first_reason_is_given(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(tiny_folder, "--methods", "lora", "--train", "lora.rank=0")) == 2
    assert "no method came to an end; LoRA: " in capsys.readouterr().err
    assert report()["advice"] == advice([])


@pytest.mark.slow
def test_another_keyword_in_the_same_folder_is_refused(tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = ["--methods", "lora", "--train", "lora.rank=0", "--out", "out"]
    assert main(command(tiny_folder, *folder)) == 2
    capsys.readouterr()
    assert main([*command(tiny_folder, *folder), "--seed", "5"]) == 2
    assert "another seed" in capsys.readouterr().err
    words = [{"zqvx": "abcd"}.get(each, each) for each in command(tiny_folder, *folder)]
    assert main(words) == 2
    assert "begun with keyword 'zqvx'" in capsys.readouterr().err


@pytest.mark.slow
def test_an_interrupt_saves_and_the_same_command_goes_on(tmp_path: Path, tiny_folder: Path) -> None:
    some = [each if each != "steps=2" else "steps=100" for each in command(tiny_folder, "--methods", "lora,embedding")]
    process = subprocess.Popen([sys.executable, "-m", "limner", *some, "--json"], stdout=subprocess.PIPE, text=True)
    log = tmp_path / "compare-zqvx" / "embedding" / "run" / "log.jsonl"
    deadline = time.monotonic() + 400
    while not log.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "interrupted" in json.loads(printed.splitlines()[-1])
    steps = len(log.read_text().splitlines())
    assert 0 < steps < 100
    first = (tmp_path / "compare-zqvx" / "lora" / "zqvx.safetensors").stat().st_mtime_ns
    assert main(some) == 0
    assert (tmp_path / "compare-zqvx" / "lora" / "zqvx.safetensors").stat().st_mtime_ns == first
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 101))
    assert report()["methods"][1]["trained"]["steps"] == 100


@pytest.mark.slow
def test_a_training_whose_comparison_is_killed_saves_and_ends(tmp_path: Path, tiny_folder: Path) -> None:
    some = [each if each != "steps=2" else "steps=400" for each in command(tiny_folder, "--methods", "lora")]
    process = subprocess.Popen([sys.executable, "-m", "limner", *some, "--json"], stdout=subprocess.PIPE, text=True)
    run = tmp_path / "compare-zqvx" / "lora" / "run"
    deadline = time.monotonic() + 400
    while steps_of(run)[0] < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert is_locked(run)
    process.kill()
    process.communicate()
    while is_locked(run) and time.monotonic() < deadline:
        time.sleep(0.05)
    steps = len((run / "log.jsonl").read_text().splitlines())
    assert 0 < steps < 400
    RunFolder(run).ask_to_finish()
    assert main(["resume", str(run)]) == 0
    assert len((run / "log.jsonl").read_text().splitlines()) == steps + 1  # from the state that it saved


def test_what_a_comparison_starts_ends_by_itself_while_the_comparison_lives() -> None:
    command = [sys.executable, "-m", "limner.cli.watched", "--version"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.read().strip()
        assert process.wait() == 0
