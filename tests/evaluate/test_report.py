"""A LoRA file judged on the tiny base: the figures mean what they say, and the model is left as it was."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from limner.base.model import BaseModel
from limner.data.folder import Picture
from limner.errors import UserError
from limner.evaluate.report import Progress, Protocol, Report, evaluate_lora, iterate_evaluation
from limner.formats import save_weights
from limner.generate import Request
from limner.methods.lora import LoRA, LoRAConfig

PROTOCOL = Protocol(
    prompts=("a cat, fxm style", "a dog, fxm style"),
    class_prompts=("a cat",),
    unrelated=("a red car", "a clock"),
    request=Request(prompt="", steps=2, cfg_scale=2.0, seed=3, count=2),
)


@pytest.fixture
def write_lora(tiny_base: BaseModel, tmp_path: Path) -> Callable[[float], Path]:
    """A LoRA file whose changes have that size."""

    def write(size: float) -> Path:
        method = LoRA(LoRAConfig(rank=2))
        method.attach(tiny_base)
        weights = method.weights()
        method.detach()
        generator = torch.Generator().manual_seed(0)
        for name, tensor in weights.tensors.items():
            if name.endswith("lora_up"):
                weights.tensors[name] = torch.randn(tensor.shape, generator=generator) * size
        return save_weights(weights, tmp_path / f"size-{size}.safetensors", dtype=torch.float32).path

    return write


def test_a_lora_that_changes_nothing_is_at_the_floor(
    tiny_base: BaseModel, references: list[Picture], write_lora: Callable[[float], Path]
) -> None:
    report = evaluate_lora(tiny_base, write_lora(0.0), references, PROTOCOL)
    assert report.likeness.score == pytest.approx(report.likeness.floor)
    assert report.style.score == pytest.approx(report.style.floor)
    assert report.unrelated_drift == pytest.approx(0, abs=1e-6)
    assert report.class_drift == pytest.approx(0, abs=1e-6)
    assert report.prediction_drift == 0
    assert report.near_copies == 0
    assert (report.pictures, report.references, report.held_out) == (4, 6, False)


def test_a_lora_that_changes_much_drifts_and_the_base_stays(
    tiny_base: BaseModel, references: list[Picture], write_lora: Callable[[float], Path]
) -> None:
    before = {name: value.clone() for name, value in tiny_base.networks["unet"].state_dict().items()}
    *progress, report = iterate_evaluation(tiny_base, write_lora(1.0), references, PROTOCOL)
    assert isinstance(report, Report)
    assert report.unrelated_drift > 1e-4
    assert report.prediction_drift > 1e-3
    assert progress[-1] == Progress(20, 20)
    after = tiny_base.networks["unet"].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["style"]["floor"] == report.style.floor
    assert "normalised" in plain["likeness"]
    assert any(line.startswith("style") for line in report.lines())


def test_pictures_of_the_training_do_not_judge_where_others_can(
    tiny_base: BaseModel, references: list[Picture], write_lora: Callable[[float], Path]
) -> None:
    trained = {picture.sha256 for picture in references[:4]}
    report = evaluate_lora(tiny_base, write_lora(0.0), references, PROTOCOL, trained)
    assert (report.references, report.held_out) == (2, True)
    report = evaluate_lora(tiny_base, write_lora(0.0), references[:4], PROTOCOL, trained)
    assert (report.references, report.held_out) == (4, False)


def test_what_cannot_be_judged_is_said(
    tiny_base: BaseModel, references: list[Picture], write_lora: Callable[[float], Path], tmp_path: Path
) -> None:
    file = write_lora(0.0)
    with pytest.raises(UserError, match="at least two images"):
        evaluate_lora(tiny_base, file, references[:1], PROTOCOL)
    with pytest.raises(UserError, match="at least one prompt"):
        evaluate_lora(tiny_base, file, references, Protocol(prompts=()))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(UserError, match="broken"):
        evaluate_lora(tiny_base, broken, references, PROTOCOL)
