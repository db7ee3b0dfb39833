"""A transformer that predicts flows: trained by the command line, drawn with, read by diffusers' pipeline."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from bases import save_tiny_sd3
from diffusers import StableDiffusion3Pipeline
from training import examples, losses, run, small_run

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.cli import main
from limner.errors import UserError
from limner.generate import Request, generate
from limner.methods.full import Full, FullConfig
from limner.named import PromptFiles
from limner.sample import make_scheduler
from limner.samplers import FLOW
from limner.train import Plan

CPU = torch.device("cpu")
STEPS, CFG, PROMPT = 3, 4.0, "a zqvx dog"
ABSENT = {"text_encoder_3": None, "tokenizer_3": None, "image_encoder": None, "feature_extractor": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd3(tmp_path_factory.mktemp("sd3") / "base")


@pytest.fixture
def model(folder: Path) -> BaseModel:
    return open_base(folder, CPU, torch.float32)


def drawn(model: BaseModel, prompt: str, sampler: str, files: PromptFiles | None = None) -> np.ndarray:
    request = Request(prompt, "", STEPS, sampler, cfg_scale=CFG, seed=4)
    return np.asarray(next(generate(model, request, files)).image).astype(int)


def drawn_by_diffusers(pipeline: StableDiffusion3Pipeline, **options: object) -> np.ndarray:
    made = pipeline(
        PROMPT,
        negative_prompt="",
        num_inference_steps=STEPS,
        guidance_scale=CFG,
        generator=torch.Generator().manual_seed(4),
        height=64,
        width=64,
        **options,
    )
    return np.asarray(made.images[0]).astype(int)


@pytest.mark.parametrize("sampler", FLOW)
def test_pictures_are_those_of_diffusers(folder: Path, model: BaseModel, sampler: str) -> None:
    pipeline = StableDiffusion3Pipeline.from_pretrained(folder, **ABSENT)
    pipeline.scheduler = make_scheduler(model, sampler, None)
    assert np.abs(drawn(model, PROMPT, sampler) - drawn_by_diffusers(pipeline)).max() <= 1


@pytest.mark.slow
def test_a_lora_trained_by_the_command_line_is_the_same_in_diffusers(
    folder: Path, model: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loras").mkdir()
    path = tmp_path / "loras" / "zqvx.safetensors"
    settings = small_run(tmp_path / "photos", [(64, 64)] * 6, folder, tmp_path / "cache", steps=3)
    settings |= {
        "out": str(path),
        "learning_rate": 0.5,
        "set": "lora.text_encoder=true",
        "milestones": 1,
        "measure_every": 2,
    }
    options = (f"--{name.replace('_', '-')}={value}" for name, value in settings.items() if name != "images")
    assert main(["train", settings["images"], *options, "--json"]) == 0
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told["readers"] == ["ComfyUI", "diffusers"]

    pipeline = StableDiffusion3Pipeline.from_pretrained(folder, **ABSENT)
    pipeline.scheduler = make_scheduler(model, "Euler", None)
    plain = drawn_by_diffusers(pipeline)
    pipeline.load_lora_weights(path)
    whole = drawn(model, f"{PROMPT} <lora:zqvx:1>", "Euler", PromptFiles(path))
    assert np.abs(whole - drawn_by_diffusers(pipeline)).max() <= 1
    assert np.abs(whole - plain).max() > 10
    without = drawn(model, f"{PROMPT} <lora:zqvx:0>", "Euler", PromptFiles(path))
    assert np.array_equal(without, drawn(model, PROMPT, "Euler"))


def test_the_flow_is_learned(model: BaseModel) -> None:
    events, _ = run(model, Plan(steps=80, learning_rate=3e-2, schedule="constant"))
    found = losses(events)
    assert sum(found[-30:]) < 0.9 * sum(found[:30])
    assert len(examples(model)[0].latents) == 16


def test_what_it_cannot_do_is_said(folder: Path, model: BaseModel) -> None:
    with pytest.raises(UserError, match="use DPM"):
        drawn(model, PROMPT, "Euler a")
    with pytest.raises(UserError, match="no whole models of Stable Diffusion 3"):
        Full(FullConfig()).check(model)
    with pytest.raises(UserError, match="predicts flows"):
        open_base(folder, CPU, torch.float32, prediction_type="epsilon")
