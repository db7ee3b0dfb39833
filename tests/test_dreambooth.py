"""Prior preservation from end to end: class pictures drawn once, the base's answers, and the command dreambooth."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from training import same, small_run, snapshot

from limner import classes, diffusion, run
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.cli import main
from limner.config import ResumeSettings, TrainSettings, read_training
from limner.container.header import read_header
from limner.data.batch import collate
from limner.data.dataset import DataSet
from limner.data.folder import load_folder
from limner.data.prior import WithPrior
from limner.device import generator
from limner.diffusion import Objective
from limner.errors import UserError
from limner.events import Event, Exported, Measured, Prepared, Started, Step
from limner.formats import inspect
from limner.generate import Request
from limner.run import prior
from limner.run.data import RunData
from limner.run.job import prepare


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(classes, "Request", functools.partial(Request, steps=2))  # a random base draws nothing in 20
    monkeypatch.delenv("LIMNER_MODELS", raising=False)


@pytest.fixture
def values(tmp_path: Path, tiny_folder: Path) -> dict[str, Any]:
    """Settings of a training of four steps on two pictures of different shapes."""
    others = {"steps": 4, "save_every": 2, "class_count": 5, "prior": "images"}
    return small_run(tmp_path / "photos", [(100, 60), (70, 70)], tiny_folder, tmp_path / "cache", **others)


def begin(values: dict[str, Any], **changes: Any) -> Any:
    settings, tables = read_training(values | changes, "test")
    return run.train(settings, tables)


def drawn(tmp_path: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in (tmp_path / "cache" / "class").rglob("*.png")}


def prepared(events: list[Event], what: str) -> list[int]:
    return [event.done for event in events if isinstance(event, Prepared) and event.what == what]


def test_class_pictures_are_drawn_once(values: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = list(begin(values))
    assert prepared(events, prior.DRAWING)[-1] == 5
    assert prepared(events, prior.ENCODING) == [1, 2, 3, 4, 5]
    before = drawn(tmp_path)
    assert 4 <= len(before) <= 2 * classes.TOGETHER  # of two sizes
    lost = sorted(before)[0]
    Path(lost).write_bytes(before[lost][:100])  # as if the machine had died
    asked = []
    generate = classes.generate
    monkeypatch.setattr(classes, "generate", lambda model, request: asked.append(request) or generate(model, request))
    list(begin(values, overwrite=True, run="again"))
    assert drawn(tmp_path) == before
    assert len(asked) == 1
    list(begin(values, overwrite=True, run="third", class_seed=7))
    assert len(drawn(tmp_path)) > len(before)
    assert {request.prompt for request in asked} == {"dog"}


@pytest.mark.slow
def test_equal_pictures_of_the_class_count_once(values: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "dogs"
    folder.mkdir()
    for name, colour in (("a", "red"), ("b", "red"), ("c", "blue")):
        Image.new("RGB", (64, 64), colour).save(folder / f"{name}.png")
    (folder / "c.txt").write_text("a blue dog")
    changes = values | {"class_images": str(folder), "class_count": None}
    settings, _ = read_training(changes, "test")
    data = RunData(DataSet(folder, ()), [], load_folder(folder))
    assert [picture.path.name for picture in prior.load_class(settings, data)] == ["a.png", "c.png"]
    events = list(begin(changes))
    (exported,) = [event for event in events if isinstance(event, Exported)]
    summary = inspect(exported.path)
    assert summary.run_card is not None
    assert len(summary.run_card["class_images_sha256"]) == 2
    assert summary.metadata["ss_num_reg_images"] == "2"
    assert "dogs" not in exported.path.read_bytes().decode("latin-1")
    assert not drawn(tmp_path)


@pytest.mark.slow
def test_a_run_goes_on_only_with_the_same_class_pictures(values: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "dogs"
    folder.mkdir()
    Image.new("RGB", (64, 64), "red").save(folder / "a.png")
    events = begin(values, class_images=str(folder), class_count=None, run="run")
    while not isinstance(next(events), Step):
        pass
    events.close()
    Image.new("RGB", (64, 64), "blue").save(folder / "a.png")
    with pytest.raises(UserError, match=r"a\.png changed since the run began"):
        list(run.resume(ResumeSettings(run=Path("run"))))


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"method": "dreambooth", "precision": "bf16"}, marks=pytest.mark.slow),
        {"method": "full", "prior": "match", "full": {"text_encoder": True, "ema": 0.9}},
        pytest.param({"method": "lora", "prior": "match", "optimizer": "adafactor"}, marks=pytest.mark.slow),
    ],
    ids=["pictures", "answers, text and average", "lora"],
)
def test_a_stopped_run_ends_as_an_unbroken_one(values: dict[str, Any], tmp_path: Path, changes: dict) -> None:
    whole, broken = tmp_path / "a" / "x.safetensors", tmp_path / "b" / "x.safetensors"
    changes = {"learning_rate": 1e-3} | changes
    list(begin(values | changes, out=whole, run=tmp_path / "a" / "run"))
    events = begin(values | changes, out=broken, run=tmp_path / "b" / "run")
    for event in events:
        if isinstance(event, Step) and event.step == 3:
            break
    events.close()
    list(run.resume(ResumeSettings(run=tmp_path / "b" / "run")))
    assert whole.read_bytes() == broken.read_bytes()


def job(values: dict[str, Any]) -> Any:
    settings, tables = read_training(values, "test")
    steps = prepare(settings, tables, "test")
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return end.value


def batches(values: dict[str, Any]) -> tuple[BaseModel, Any]:
    made = job(values)
    steps = made.encode()
    try:
        while True:
            next(steps)
    except StopIteration as end:
        return made.model, end.value


def test_the_base_s_own_answers_cost_the_base_nothing(values: dict[str, Any]) -> None:
    """And a model that has changed something: what it has learned of the class."""
    model, source = batches(values | {"prior": "match", "class_count": 6})
    assert isinstance(source, WithPrior)
    for step in range(4):
        own = source.subject.examples_at(step)
        answers = [row for row in _known(source) if row.latents.shape == own[0].latents.shape]
        assert {example.caption for example in answers} == {"dog"}
        with torch.no_grad():
            assert float(diffusion.loss(model, collate(answers), generator(1), Objective())) < 1e-10
    model.networks["unet"].conv_out.weight.data += 0.1
    with torch.no_grad():
        assert float(diffusion.loss(model, collate(answers), generator(1), Objective())) > 1e-4


def _known(source: WithPrior) -> list[Any]:
    return [example for examples in source._by_size.values() for example in examples]


def test_the_answers_cover_the_noise_levels_and_the_pictures(values: dict[str, Any]) -> None:
    _, source = batches(values | {"prior": "match", "class_count": 40})
    timesteps = sorted(example.known.timestep for example in _known(source))
    assert all(index * 25 <= timestep < (index + 1) * 25 for index, timestep in enumerate(timesteps))
    assert [len(examples) for examples in source._by_size.values()] == [20, 20]


@pytest.mark.slow
def test_the_ways_to_say_it_are_the_same(values: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """The command, the method's name, and what both stand for."""
    options = [
        f"--{name.replace('_', '-')}={value}" for name, value in values.items() if name not in ("images", "prior")
    ]
    files = []
    for index, start in enumerate((["dreambooth"], ["train", "--method", "dreambooth"], ["train", "--method", "full"])):
        extra = ["--prior", "images"] if index == 2 else []
        out = f"{index}/x.safetensors"
        command = [*start, values["images"], *options, *extra, "--out", out, "--run", f"{index}/run", "--json"]
        assert main(command) == 0
        answer = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert answer["steps"] == 4
        files.append(Path(answer["file"]).read_bytes())
    assert files[0] == files[1] == files[2]
    base = open_base(Path("0/x.safetensors").absolute(), torch.device("cpu"), torch.float32)
    assert base.family.name == "sd1"
    command = ["generate", "a zqvx dog", "--base", "0/x.safetensors", "--steps", "1", "--seed", "1", "--out", "p.png"]
    assert main([*command, "--json"]) == 0
    assert "Model: x," in json.loads(capsys.readouterr().out)["pictures"][0]["parameters"]


def test_where_the_file_goes_and_what_to_do_with_it(
    values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = list(begin(values, method="dreambooth"))
    (exported,) = [event for event in events if isinstance(event, Exported)]
    assert exported.path == tmp_path / "models" / "Stable-diffusion" / "zqvx.safetensors"
    assert set(exported.readers) == {"A1111", "Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers"}
    (started,) = [event for event in events if isinstance(event, Started)]
    text = (started.folder / "run.toml").read_text()
    assert 'method = "full"' in text
    assert 'prior = "images"' in text
    assert main(["resume", str(started.folder)]) == 0
    assert "--base" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["images", pytest.param("match", marks=pytest.mark.slow)])
def test_a_dry_run_counts_the_class_in_and_draws_nothing(values: dict[str, Any], tmp_path: Path, kind: str) -> None:
    settings, tables = read_training(values | {"method": "full", "prior": kind, "class_count": 5000}, "test")
    measured = {e.name: e.value for e in run.dry_run(settings, tables) if isinstance(e, Measured)}
    without, tables = read_training({n: v for n, v in values.items() if "class_c" not in n} | {"prior": "none"}, "test")
    plain = {e.name: e.value for e in run.dry_run(without, tables) if isinstance(e, Measured)}
    assert measured["seconds"] > plain["seconds"] + 5
    assert not drawn(tmp_path)


MISTAKES = {
    "no class": ({"class": ""}, "say what the subject is"),
    "class pictures without use": ({"prior": "match", "class_images": "dogs"}, "--prior images"),
    "a count without use": ({"prior": "none"}, "class_count is of no use"),
    "an empty folder": ({"class_images": "empty"}, "no pictures in"),
    "no folder": ({"class_images": "nowhere"}, "no folder"),
    "no pictures at all": ({"method": "slider", "images": None, "slider": {"positive": "a"}}, "leave --prior"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_mistakes(values: dict[str, Any], tmp_path: Path, case: str) -> None:
    (tmp_path / "empty").mkdir()
    changes, said = MISTAKES[case]
    with pytest.raises(UserError, match=said):
        list(begin(values | changes))
    assert not (tmp_path / "models").exists()
    assert not (tmp_path / "runs").exists()


def test_a_prompt_of_ones_own() -> None:
    settings = TrainSettings(
        images=Path("x"), keyword="zqvx", prior="match", template="a photo of {keyword} {class}", class_word="dog"
    )
    assert prior.class_prompt(settings) == "a photo of dog"
    assert prior.class_prompt(settings.model_copy(update={"class_prompt": "a puppy"})) == "a puppy"


@pytest.mark.slow
def test_a_folder_in_diffusers_layout_on_request(values: dict[str, Any], tmp_path: Path) -> None:
    folder = tmp_path / "out" / "zqvx"
    changes = {"method": "full", "prior": "none", "class_count": None, "steps": 1, "diffusers_folder": str(folder)}
    events = list(begin(values | changes))
    first, last = (event for event in events if isinstance(event, Exported))
    assert (first.path, last.path.name) == (folder, "zqvx.safetensors")
    of_folder, of_file = (open_base(path, torch.device("cpu"), torch.float32) for path in (folder, last.path))
    assert same(snapshot(of_folder), snapshot(of_file))
    text = read_header(folder / "text_encoder" / "model.safetensors").shapes
    assert all(name.startswith("text_model.") for name in text)
    assert sorted(path.name for path in folder.parent.iterdir()) == ["zqvx"]
    with pytest.raises(UserError, match="--overwrite"):
        list(begin(values | changes, out="other.safetensors"))
    photos = {"diffusers_folder": values["images"], "out": "other.safetensors", "overwrite": True}
    with pytest.raises(UserError, match="no model in diffusers' layout"):
        list(begin(values | changes | photos))
    assert len(list(Path(values["images"]).iterdir())) == 2
    with pytest.raises(UserError, match="trains none"):
        list(begin(values | changes, method="lora"))
