"""A slider: it learns the difference of two prompts in both directions, from prompts alone, and is a LoRA file."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from training import run as teach
from training import same, snapshot

from limner import run
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.config import read_training
from limner.data.batch import Batch
from limner.device import generator
from limner.errors import UserError
from limner.events import Exported, Step
from limner.formats import inspect, load_weights
from limner.methods.slider import Slider, SliderConfig
from limner.train import Plan

CONFIG = SliderConfig(positive="a red cat", negative="a blue cat", target="a cat", pictures=4, rank=4)


@pytest.fixture
def tiny_base(flat_folder: Path) -> BaseModel:
    """What is no whole run needs no base that programs know."""
    return open_base(flat_folder, torch.device("cpu"), torch.float32)


@torch.no_grad()
def answer(model: BaseModel, prompt: str, timestep: int = 500) -> torch.Tensor:
    latents = torch.randn(4, 4, 8, 8, generator=generator(1))
    return model.predict(latents, torch.full((4,), timestep), model.encode_prompts([prompt] * 4))


def likeness(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(one.flatten(), other.flatten(), dim=0))


def test_both_directions_are_learned_in_unseen_noise(tiny_base: BaseModel) -> None:
    before = snapshot(tiny_base)
    slider = Slider(CONFIG)
    plain = answer(tiny_base, "a cat")
    wanted = CONFIG.push * (answer(tiny_base, "a red cat") - answer(tiny_base, "a blue cat"))
    teach(tiny_base, Plan(steps=60, learning_rate=2e-2), [slider], batch_size=6)
    assert same(snapshot(tiny_base), before)
    for strength in (1.0, -1.0, 0.5):
        undo = Slider.apply(tiny_base, slider.weights(), strength)
        assert likeness(answer(tiny_base, "a cat") - plain, strength * wanted) > 0.6
        undo()


def test_the_loss_is_zero_where_the_base_is_already_as_wanted(tiny_base: BaseModel) -> None:
    slider = Slider(CONFIG.model_copy(update={"push": 1e-12}))
    slider.attach(tiny_base, seed=3)
    batch = Batch(torch.zeros(5, 4, 8, 8), [""] * 5, None, torch.ones(5))
    with torch.no_grad():
        assert float(slider.loss(tiny_base, batch, generator(0))) < 1e-9
    slider.detach()


def test_after_a_step_the_model_shows_strength_1(tiny_base: BaseModel) -> None:
    slider = Slider(CONFIG)
    slider.attach(tiny_base, seed=3)
    with torch.no_grad():
        for name, tensor in slider.state().items():
            tensor.normal_(std=0.1, generator=generator(len(name)))
    slider.refresh()
    shown = answer(tiny_base, "a cat")
    batch = Batch(torch.zeros(2, 4, 8, 8), [""] * 2, None, torch.ones(2))
    answers = []
    for seed in range(6):  # of both signs
        slider.loss(tiny_base, batch, generator(seed)).backward()
        answers.append(torch.equal(answer(tiny_base, "a cat"), shown))
        slider.refresh()
        assert torch.equal(answer(tiny_base, "a cat"), shown)
    assert True in answers
    assert False in answers
    slider.detach()


def test_what_will_not_do_is_told(tiny_base: BaseModel) -> None:
    with pytest.raises(UserError, match="say the same"):
        Slider(SliderConfig(positive="a cat", negative="A  cat")).attach(tiny_base)
    slider = Slider(CONFIG)
    slider.attach(tiny_base)
    with pytest.raises(UserError, match="--resolution"):
        slider.loss(tiny_base, Batch(torch.zeros(1, 4, 16, 16), [""], None, torch.ones(1)), generator(0))
    slider.detach()


def settings(tmp_path: Path, tiny_folder: Path, **more: object) -> dict:
    return {
        "keyword": "redder",
        "method": "slider",
        "base": str(tiny_folder),
        "cache": str(tmp_path / "cache"),
        "steps": 2,
        "previews": 0,
        "precision": "fp32",
        "device": "cpu",
        "slider": {"positive": "a red cat", "negative": "a blue cat", "pictures": 1},
    } | more


def test_a_whole_run_without_a_picture(tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read, tables = read_training(settings(tmp_path, tiny_folder), "test")
    events = list(run.train(read, tables))
    assert [event.step for event in events if isinstance(event, Step)] == [1, 2]
    (exported,) = [event for event in events if isinstance(event, Exported)]
    assert exported.path == tmp_path / "models" / "Lora" / "redder.safetensors"
    assert len(exported.readers) == 5
    assert inspect(exported.path).ranks == {4: len(load_weights(exported.path).modules())}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"images": "somewhere"}, "leave somewhere out"),
        ({"method": "embedding+slider", "images": "x"}, "another from none"),
        ({"method": "lora", "slider": None}, "images is missing"),
    ],
)
def test_pictures_are_asked_for_where_they_are_needed(
    tmp_path: Path, tiny_folder: Path, monkeypatch: pytest.MonkeyPatch, more: dict, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    values = {name: value for name, value in settings(tmp_path, tiny_folder, **more).items() if value is not None}
    with pytest.raises(UserError, match=said):
        list(run.train(*read_training(values, "test")))


@pytest.mark.slow
def test_the_command_line_takes_no_folder(tmp_path: Path, tiny_folder: Path) -> None:
    flat = [f"--{name}={value}" for name, value in settings(tmp_path, tiny_folder).items() if name != "slider"]
    command = ["train", *flat, "--set", "slider.positive=a red cat", "--set", "slider.pictures=1", "--dry-run"]
    told = subprocess.run(
        [sys.executable, "-m", "limner", *command], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert told.returncode == 0, told.stderr
