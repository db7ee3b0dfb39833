"""A setting that another one turns off is said; every setting of a training is looked at."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from limner.config import TrainSettings, read_training
from limner.data.dataset import DataSet, Loaded, Part
from limner.data.folder import load_folder
from limner.run.data import RunData
from limner.run.derive import derive
from limner.run.job import Job, read_methods
from limner.run.unused import ALWAYS, RULES, given_in, without_effect


def said(folder: Path, part: dict[str, Any] | None = None, pooled: bool = False, **values: Any) -> str:
    """What a training of two images on a base of 1.x's kind says of its settings; part: of what a file says."""
    for number in range(2):
        Image.new("RGB", (64, 64), "red").save(folder / f"{number}.png")
    settings, tables = read_training({"images": folder, "keyword": "zqvx"} | values, "test")
    own = Part(folder, "zqvx", **(part or {}))
    loaded = load_folder(folder)
    data = RunData(DataSet(folder, (own,)), [Loaded(own, loaded.pictures, [])])
    decided = {each.name: each.value for each in derive(settings, 2, 128, True)}
    family = SimpleNamespace(is_pooled=pooled, title="Stable Diffusion XL")
    model: Any = SimpleNamespace(prediction_type="epsilon", alphas_cumprod=torch.tensor([0.9, 0.1]), family=family)
    full = settings.model_copy(update=decided)
    job = Job(full, read_methods(settings, tables, "test"), model, data, data.items(full), [])
    return "\n".join(event.message for event in without_effect(job, given_in(settings)))


def test_every_setting_of_a_training_is_looked_at() -> None:
    ruled = {name for rule in RULES for name in rule.names}
    assert ALWAYS | ruled == set(TrainSettings.model_fields)
    assert not ALWAYS & ruled


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"min_snr_gamma": 3.0, "weighting": "none"}, "min_snr_gamma = 3 does nothing here"),
        ({"keep_tags": 3}, "keep_tags = 3 does nothing here"),
        ({"prior_weight": 2.0}, "prior_weight = 2 does nothing here: prior = none"),
        ({"class_seed": 7}, "class_seed = 7 does nothing here: prior = none"),
        ({"method": "embedding", "file_precision": "bf16"}, "file_precision = bf16 does nothing here"),
        ({"measure_every": 500, "steps": 20}, "measure_every = 500 does nothing here: there are only 20 steps"),
        ({"method": "slider", "slider": {"positive": "a"}, "huber": 0.1}, "huber = 0.1 does nothing here"),
        ({"optimizer": "prodigy", "lora": {"up_rate": 16.0}}, "lora.up_rate = 16.0 does nothing here"),
        ({"pooled": True, "clip_skip": 2}, "clip_skip = 2 does nothing here: Stable Diffusion XL"),
        ({"caption_dropout": 0.2, "part": {"dropout": 0.1}}, "caption_dropout = 0.2 does nothing for 1 of 1 folders"),
        ({"mirror": True, "part": {"mirror": False}}, "mirror = True does nothing for 1 of 1 folders"),
    ],
)
def test_what_has_no_effect_is_said(tmp_path: Path, values: dict[str, Any], sentence: str) -> None:
    assert sentence in said(tmp_path, **values)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"min_snr_gamma": 3.0},
        {"shuffle_captions": True, "keep_tags": 3},
        {"clip_skip": 2},
        {"method": "slider", "slider": {"positive": "a"}, "learning_rate": 1e-4},
        {"mirror": True, "part": {"mirror": True}},
        {"optimizer": "adamw", "lora": {"up_rate": 16.0}},
    ],
)
def test_what_acts_is_not(tmp_path: Path, values: dict[str, Any]) -> None:
    assert said(tmp_path, **values) == ""


def test_a_number_of_steps_says_what_it_turns_off_and_why() -> None:
    settings = TrainSettings(images=Path("x"), keyword="zqvx", steps=30)
    chosen = {each.name: each for each in derive(settings, 20, 128, True)}
    assert [chosen[name].value for name in ("held_out", "stop", "keep", "measure_every", "milestones")] == [
        0, "never", "last", 0, 0,
    ]  # fmt: skip
    assert "steps is set" in chosen["stop"].reason
    for name in ("held_out", "stop", "milestones"):
        assert "stop = auto" in chosen[name].reason
    assert "keep = best" in chosen["keep"].reason
    assert "fewer steps than the usual" in chosen["measure_every"].reason
