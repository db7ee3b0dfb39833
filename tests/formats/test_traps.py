"""Traps that break files elsewhere: docs/formats.md lists all with their tests, here are those without others."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import convert_all_state_dict_to_peft, convert_state_dict_to_kohya
from loras import check_in_diffusers, lora_for
from safetensors.torch import load_file, save_file

from limner.base.families import UNETS
from limner.base.model import BaseModel
from limner.errors import UserError
from limner.formats import load_weights, save_weights, verify
from limner.methods.applied import find_module
from limner.methods.method import find_method
from limner.weights import Weights

OpenTiny = Callable[[str], BaseModel]
ROOT = Path(__file__).parents[2]
TRAPS = 12


def test_every_trap_is_listed_with_tests_that_are_there() -> None:
    rows = re.findall(r"^\| (\d+) \|.*\|(.+)\|$", (ROOT / "docs" / "formats.md").read_text(), re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, TRAPS + 1))
    for number, cell in rows:
        named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", cell)
        assert named, f"trap {number} has no test"
        for file, test in named:
            assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


@pytest.mark.parametrize("family", UNETS)
def test_text_encoders_keep_text_model(tmp_path: Path, open_tiny: OpenTiny, family: str) -> None:
    """Trap 2: a file without it is written by nobody here, and found if it were."""
    model = open_tiny(family)
    weights = lora_for(model)
    path = tmp_path / "fox.safetensors"
    save_weights(weights, path)
    tensors = load_file(path)
    text = [key for key in tensors if key.startswith("lora_te")]
    assert text
    assert all(re.match(r"lora_te[12]?_text_model_encoder_layers_", key) for key in text)
    save_file({key.replace("_text_model", ""): tensor for key, tensor in tensors.items()}, path)
    with pytest.raises(UserError, match="would not work in A1111"):
        verify(path, model, weights)


def test_the_alpha_that_diffusers_own_converter_forgets_is_found(tmp_path: Path, open_tiny: OpenTiny) -> None:
    """Trap 5: it writes the rank in its place."""
    model = open_tiny("sd1")
    weights = lora_for(model, text=False, rank=4, alpha=2.0)
    path = tmp_path / "fox.safetensors"
    save_weights(weights, path, "diffusers", torch.float32)
    theirs = convert_state_dict_to_kohya(convert_all_state_dict_to_peft(load_file(path)))
    renamed = {
        key.replace("unet_", "lora_unet_", 1) if key.startswith("unet_") else key: t for key, t in theirs.items()
    }
    converted = {key.replace("lora_lora", "lora"): tensor.contiguous() for key, tensor in renamed.items()}
    assert {float(tensor) for key, tensor in converted.items() if key.endswith(".alpha")} == {4.0}
    save_file(converted, path)
    with pytest.raises(UserError, match="as it was trained"):
        verify(path, model, weights)
    save_weights(weights, path)
    assert {float(tensor) for key, tensor in load_file(path).items() if key.endswith(".alpha")} == {2.0}


CORES: dict[str, tuple[dict[str, tuple[int, ...]], set[str]]] = {
    "lora_mid": (
        {"lora_down.weight": (4, 64, 1, 1), "lora_mid.weight": (4, 4, 3, 3), "lora_up.weight": (64, 4, 1, 1)},
        {"diffusers"},
    ),
    "loha": (
        {
            "hada_w1_a": (4, 64), "hada_w1_b": (4, 64), "hada_t1": (4, 4, 3, 3),
            "hada_w2_a": (4, 64), "hada_w2_b": (4, 64), "hada_t2": (4, 4, 3, 3),
        },
        {"diffusers"},
    ),
    "lokr_t2": (
        {"lokr_w1": (8, 8), "lokr_w2_a": (4, 8), "lokr_w2_b": (4, 8), "lokr_t2": (4, 4, 3, 3)},
        {"Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("sort", CORES)
def test_files_with_cores_say_who_does_not_read_them(tmp_path: Path, open_tiny: OpenTiny, sort: str) -> None:
    """Trap 8: read from another's file, and written again, they go to those that know them."""
    model = open_tiny("sd1")
    shapes, wrong = CORES[sort]
    key = "lora_unet_mid_block_resnets_0_conv1"
    assert find_module(model, "unet.mid_block.resnets.0.conv1").weight.shape == (64, 64, 3, 3)  # type: ignore[union-attr]
    numbers = torch.Generator().manual_seed(4)
    tensors = {f"{key}.{leaf}": torch.randn(shape, generator=numbers) for leaf, shape in shapes.items()}
    save_file(tensors | {f"{key}.alpha": torch.tensor(2.0)}, tmp_path / "theirs.safetensors")
    saved = save_weights(load_weights(tmp_path / "theirs.safetensors"), tmp_path / "ours.safetensors", model=model)
    assert {report.reader for report in saved.reports if report.fault} == wrong
    assert all(report.matched == 1 for report in saved.reports if not report.fault)
    with pytest.raises(ValueError, match="renamed"):
        DiffusionPipeline.from_pretrained(model.source).load_lora_weights(tmp_path / "ours.safetensors")


def without(weights: Weights, *parts: str) -> Weights:
    weights.tensors = {
        name: tensor for name, tensor in weights.tensors.items() if not any(f".{part}." in name for part in parts)
    }
    return weights


@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_text_layers_that_diffusers_tells_names_by(
    tmp_path: Path, tiny_folders: Callable[[str], Path], open_tiny: OpenTiny, family: str
) -> None:
    """Trap 11: with q and v alone it refuses the file, with the feed-forward layers too it drops q and v; its own names
    it reads."""
    model = open_tiny(family)
    path = tmp_path / "fox.safetensors"

    def fault(*left_out: str) -> str:
        reports = save_weights(without(lora_for(model), *left_out), path, model=model).reports
        return next(report.fault for report in reports if report.reader == "diffusers")

    assert "leaves out the text encoder's q, k and v" in fault("out_proj")
    assert "refuses" in fault("k_proj", "out_proj", "fc1", "fc2")
    with pytest.raises(ValueError, match="infer"):
        DiffusionPipeline.from_pretrained(tiny_folders(family)).load_lora_weights(path)
    weights = without(lora_for(model), "k_proj", "out_proj", "fc1", "fc2")
    saved = save_weights(weights, path, "diffusers", torch.float32, model)
    assert all(report.reader != "diffusers" or not report.fault for report in saved.reports)
    check_in_diffusers(tiny_folders(family), path, model, weights)


@pytest.mark.parametrize("family", UNETS)
def test_whoever_trains_a_text_encoder_trains_all_of_its_matrices(open_tiny: OpenTiny, family: str) -> None:
    """Trap 11, avoided."""
    model = open_tiny(family)
    method: Any = find_method("lora")(find_method("lora").Config.read({"text_encoder": True}, "test"))
    method.attach(model)
    trained = set(method.weights().modules())
    method.detach()
    for network in (encoder.name for encoder in model.family.encoders):
        ends = {name.rpartition(".")[2] for name in trained if name.startswith(f"{network}.")}
        assert ends == {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}
