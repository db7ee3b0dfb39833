"""Whole trainings on the tiny base: what they write, that they go on after any stop, and what they refuse."""

import json
import os
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from training import small_run

from limner import run
from limner.cli import main
from limner.cli.output import Bar
from limner.config import ResumeSettings, TrainSettings, read_toml, read_training
from limner.errors import UserError
from limner.events import Chosen, Done, Event, Exported, Measured, Preview, Started, Step, Warned
from limner.formats import inspect
from limner.run.folder import Log


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIMNER_MODELS", raising=False)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def values(tmp_path: Path, tiny_folder: Path, cache: Path) -> dict[str, Any]:
    """Settings of a training of six steps on two pictures."""
    others = {"crops": 1, "save_every": 2, "lora": {"rank": 2}}
    settings = small_run(tmp_path / "photos", [(90, 70)] * 2, tiny_folder, cache, **others)
    (tmp_path / "photos" / "0.txt").write_text("a zqvx dog in a private place")
    return settings


def begin(values: dict[str, Any], **changes: Any) -> Any:
    settings, tables = read_training(values | changes, "test")
    return run.train(settings, tables)


def arguments(values: dict[str, Any]) -> list[str]:
    """The same as a command line."""
    flat = {name: value for name, value in values.items() if name not in ("images", "lora")}
    return [
        "train",
        values["images"],
        *(f"--{name.replace('_', '-')}={value}" for name, value in flat.items()),
        "--rank=2",
    ]


def only(events: list[Event], kind: type) -> Any:
    (found,) = [event for event in events if isinstance(event, kind)]
    return found


def test_a_whole_run(values: dict[str, Any], tmp_path: Path) -> None:
    events = list(begin(values, previews=2))
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2, 3, 4, 5, 6]
    assert [event.step for event in events if isinstance(event, Preview)] == [3, 6]
    assert isinstance(events[-1], Done)
    exported = only(events, Exported)
    assert exported.path == tmp_path / "models" / "Lora" / "zqvx.safetensors"
    assert set(exported.readers) == {"A1111", "Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers"}
    assert {"resolution", "learning_rate"} <= {event.name for event in events if isinstance(event, Chosen)}
    folder = only(events, Started).folder
    assert folder.parent == tmp_path / "runs"
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [set(line) for line in lines] == [{"step", "loss", "lr", "seconds"}] * 6
    with Image.open(folder / "previews" / "000006.png") as preview:
        assert preview.info["parameters"].startswith("zqvx dog\nSteps: 20")
    text = (folder / "run.toml").read_text()
    assert "resolution = 64 # it is the base's own" in text
    again, tables = read_training(read_toml(folder / "run.toml"), "test")
    assert (again.steps, again.keyword, tables["lora"]["rank"]) == (6, "zqvx", 2)


def test_the_card_says_how_but_not_where_or_of_what(values: dict[str, Any], tmp_path: Path) -> None:
    exported = only(list(begin(values)), Exported)
    summary = inspect(exported.path)
    card = summary.run_card
    assert card is not None
    assert summary.keyword == "zqvx"
    assert card["settings"]["steps"] == 6
    said = {"rank": 2, "alpha": 1.0, "layers": "attention+mlp", "text_encoder": False}
    assert {name: card["methods"]["lora"][name] for name in said} == said
    assert len(card["images_sha256"]) == 2
    assert card["versions"]["torch"] == version("torch")
    assert card["figures"]["loss"] > 0
    told = exported.path.read_bytes().decode("latin-1")
    for secret in (str(tmp_path), "photos", "0.png", "private place", str(Path(values["base"]).parent)):
        assert secret not in told


def test_equal_runs_give_equal_files(values: dict[str, Any], tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "x.safetensors", tmp_path / "b" / "x.safetensors"
    for out in (first, second):
        list(begin(values, out=out, run=out.parent / "run"))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    "stop", [pytest.param(0, marks=pytest.mark.slow), 1, 3, pytest.param(5, marks=pytest.mark.slow)]
)
def test_a_stopped_run_ends_as_an_unbroken_one(values: dict[str, Any], tmp_path: Path, stop: int) -> None:
    whole, broken = tmp_path / "a" / "x.safetensors", tmp_path / "b" / "x.safetensors"
    list(begin(values, out=whole, run=tmp_path / "a" / "run"))
    events = begin(values, out=broken, run=tmp_path / "b" / "run")
    for event in events:
        if (isinstance(event, Step) and event.step == stop) or (isinstance(event, Started) and stop == 0):
            break
    events.close()
    assert not broken.exists()
    rest = list(run.resume(ResumeSettings(run=tmp_path / "b" / "run")))
    assert [event.step for event in rest if isinstance(event, Step)] == list(range(stop + 1, 7))
    assert whole.read_bytes() == broken.read_bytes()
    logs = [Log(out.parent / "run" / "log.jsonl").lines for out in (whole, broken)]
    assert [(a["step"], a["loss"]) for a in logs[0]] == [(b["step"], b["loss"]) for b in logs[1]]


@pytest.mark.slow
def test_a_finished_run_can_be_resumed_to_no_effect(values: dict[str, Any]) -> None:
    events = list(begin(values))
    out, folder = only(events, Exported).path, only(events, Started).folder
    before = out.read_bytes()
    again = list(run.resume(ResumeSettings(run=folder)))
    assert not [event for event in again if isinstance(event, Step)]
    assert out.read_bytes() == before
    list(begin(values, overwrite=True, seed=5))
    with pytest.raises(UserError, match="written by something else"):
        list(run.resume(ResumeSettings(run=folder)))
    list(run.resume(ResumeSettings(run=folder, overwrite=True)))
    assert out.read_bytes() == before


def stopped(values: dict[str, Any], after: int = 2) -> Path:
    """The folder of a run that was stopped after a step."""
    events = begin(values)
    folder = Path()
    for event in events:
        folder = event.folder if isinstance(event, Started) else folder
        if isinstance(event, Step) and event.step == after:
            break
    events.close()
    return folder


def test_a_run_goes_on_only_with_what_it_began_with(values: dict[str, Any]) -> None:
    folder = stopped(values)
    photos = Path(values["images"])
    with pytest.raises(UserError, match="--seed"):
        list(run.resume(ResumeSettings(run=folder, seed=3)))
    (photos / "0.txt").write_text("another caption")
    with pytest.raises(UserError, match=r"0\.png changed"):
        list(run.resume(ResumeSettings(run=folder)))
    (photos / "0.txt").write_text("a zqvx dog in a private place")
    Image.new("RGB", (64, 64)).save(photos / "2.png")
    with pytest.raises(UserError, match=r"2\.png changed"):
        list(run.resume(ResumeSettings(run=folder)))
    (photos / "2.png").unlink()
    record = json.loads((folder / "record.json").read_text())
    record["versions"]["torch"] = "1.0"
    (folder / "record.json").write_text(json.dumps(record))
    assert "torch was 1.0" in only(list(run.resume(ResumeSettings(run=folder))), Warned).message


def test_two_processes_cannot_train_in_one_folder(values: dict[str, Any]) -> None:
    folder = stopped(values)
    first = run.resume(ResumeSettings(run=folder))
    while not isinstance(next(first), Step):
        pass
    with pytest.raises(UserError, match="at work"):
        list(run.resume(ResumeSettings(run=folder)))
    first.close()


def test_a_finished_file_is_not_replaced_unasked(values: dict[str, Any], tmp_path: Path) -> None:
    out = tmp_path / "models" / "Lora" / "zqvx.safetensors"
    out.parent.mkdir(parents=True)
    out.write_bytes(b"precious")
    with pytest.raises(UserError, match="--overwrite"):
        list(begin(values))
    assert out.read_bytes() == b"precious"
    list(begin(values, overwrite=True))
    assert inspect(out).kind == "lora"


def test_a_dry_run_predicts_and_leaves_nothing(
    values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings, tables = read_training(values | {"previews": 1}, "test")
    events = list(run.dry_run(settings, tables))
    measured = {event.name: event.value for event in events if isinstance(event, Measured)}
    assert not (tmp_path / "models").exists()
    assert not (tmp_path / "runs").exists()
    exported = only(list(begin(values)), Exported)
    assert measured["file_bytes"] == pytest.approx(exported.size_bytes, rel=0.02)
    assert measured["memory_bytes"] > 1e8
    assert 0 < measured["seconds"] < 600


def test_a_loss_that_is_no_number_stops_the_run(values: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    values |= {"optimizer": "prodigy", "learning_rate": 1e30, "max_grad_norm": 1e30}  # by others it is refused at once
    assert main([*arguments(values), "--json"]) == 2
    told = capsys.readouterr()
    assert "not finite" in told.err
    assert "not finite" in json.loads(told.out.splitlines()[-1])["error"]
    assert not Path("models").exists()


def test_warnings(values: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    (Path(values["images"]) / "bad.png").write_text("not a picture")
    Image.new("RGB", (20, 20)).save(Path(values["images"]) / "small.png")
    assert main([*arguments(values | {"keyword": "dog", "steps": 1}), "--json", "--quiet"]) == 0
    told = capsys.readouterr()
    assert "bad.png is not an image" in told.err
    assert "the keyword 'dog' is a common word" in told.err
    assert "better take a rare one" in told.err
    assert "small.png (20x20) must be enlarged" in told.err
    assert len(json.loads(told.out)["warnings"]) == 3


def test_progress_is_plain_lines_where_there_is_no_terminal(
    values: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments(values)) == 0
    told = capsys.readouterr()
    assert told.out.endswith("zqvx.safetensors\n")
    assert "step 6 of 6, loss " in told.err
    assert "/s" in told.err
    assert "\r" not in told.err
    assert "batch_size" not in told.err  # it was given
    assert "learning_rate = 0.005: " in told.err


def test_an_interrupt_saves_the_state_and_says_how_to_go_on(
    values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reported = Bar.at

    def interrupted(bar: Bar, done: int, note: str = "") -> None:
        reported(bar, done, note)
        if bar.what == "step" and done == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Bar, "at", interrupted)
        assert main([*arguments(values), "--json"]) == 130
    told = capsys.readouterr()
    answer = json.loads(told.out.splitlines()[-1])
    assert answer["step"] == 3
    assert answer["resume"] in told.err.splitlines()[-1]
    assert main([*answer["resume"].split()[1:], "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["steps"] == 6
    assert len((Path(answer["run"]) / "log.jsonl").read_text().splitlines()) == 6


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.slow
def test_control_c_in_a_terminal(values: dict[str, Any], tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "limner",
        *arguments(values | {"steps": 5000, "save_every": 5000, "measure_every": 0, "milestones": 0}),
    ]
    log = tmp_path / "runs"
    process = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background jobs ignore it
    )
    deadline = time.monotonic() + 120
    while (
        not any(path.read_text().count("loss") > 2 for path in log.glob("*/log.jsonl"))  # in the first, none is saved
        and process.poll() is None
        and time.monotonic() < deadline
    ):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130, told
    assert "limner resume" in told.splitlines()[-1]
    assert any(log.glob("*/state/*"))


def test_the_library_does_the_same(values: dict[str, Any], tmp_path: Path) -> None:
    import limner

    options = {name: value for name, value in values.items() if name not in ("images", "keyword", "class")}
    events = list(limner.train(values["images"], "zqvx", class_word="dog", **options))
    path = only(events, Exported).path
    assert limner.inspect(path).keyword == "zqvx"
    model = limner.load(values["base"], precision="fp32", device="cpu")
    (with_it,) = limner.generate(model, "a zqvx dog <lora:zqvx:3>", steps=2, seed=1)
    (without,) = limner.generate(model, "a zqvx dog <lora:zqvx:0>", steps=2, seed=1)
    (base,) = limner.generate(model, "a zqvx dog", steps=2, seed=1)
    assert without.image.tobytes() == base.image.tobytes() != with_it.image.tobytes()


def test_settings_of_python_are_strict_too(values: dict[str, Any]) -> None:
    import limner

    with pytest.raises(UserError, match="did you mean 'steps'"):
        limner.train("photos", "zqvx", stpes=3)
    assert TrainSettings(images=Path("~"), keyword="k").images == Path.home()


@pytest.mark.parametrize(
    "changes",
    [
        {"lora": {"rank": 2, "text_encoder": True}, "caption_dropout": 0.5, "clip_skip": 2},
        {"lora": {"rank": 2, "layers": "all", "alpha": 2.0}, "optimizer": "prodigy", "precision": "bf16"},
        {"gradient_accumulation": 2, "gradient_checkpointing": True, "min_snr_gamma": 0, "file_precision": "bf16"},
        {"lora": {"rank": 2, "layers": "attention"}, "schedule": "linear", "clip_skip": 2, "warmup_steps": 1},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_the_ways_to_train(values: dict[str, Any], changes: dict[str, Any]) -> None:
    exported = only(list(begin(values, steps=2, **changes)), Exported)
    summary = inspect(exported.path)
    assert summary.run_card is not None
    for name, value in changes.items():
        if name != "lora" and name != "precision":
            assert summary.run_card["settings"][name] == value
    assert ("text_encoder" in summary.modules) == changes.get("lora", {}).get("text_encoder", False)
    assert ("BF16" in summary.dtypes) == (changes.get("file_precision") == "bf16")


@pytest.mark.slow
def test_evaluate_and_inspect_a_trained_file(values: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*arguments(values), "--quiet"]) == 0
    assert main([*arguments(values | {"out": "other.safetensors", "seed": 4}), "--quiet"]) == 0
    capsys.readouterr()
    file = "models/Lora/zqvx.safetensors"
    assert main(["inspect", file]) == 0
    shown = capsys.readouterr().out
    assert "lora, for sd1, kohya names" in shown
    assert "settings.steps" in shown
    assert main(["inspect", file, "other.safetensors", "--json"]) == 0
    different = json.loads(capsys.readouterr().out)["sections"]
    assert different["settings"] == {"seed": [0, 4]}
    command = ["evaluate", file, "--images", values["images"], "--base", values["base"], "--count", "2"]
    command += ["--drawing-steps", "1"]
    assert main([*command, "--precision", "fp32", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["prompt_list"][:2] == ["a zqvx dog in a private place", "zqvx dog"]
    assert report["held_out"] is False
    assert report["unrelated_drift"] >= 0


def test_runs_of_one_second_have_folders_of_their_own(tmp_path: Path) -> None:
    folders = []
    for _ in range(3):
        folders.append(run.new_folder(tmp_path, "zqvx"))
        folders[-1].mkdir()
    assert len(set(folders)) == 3
