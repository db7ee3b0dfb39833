"""Files of the LoRA's relatives: names, what each program makes of them, and files that LyCORIS and PEFT write."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from limner.base.model import BaseModel
from limner.errors import UserError
from limner.formats import inspect, load_weights, save_weights
from limner.formats.programs import FAULTS
from limner.methods.method import find_method
from limner.weights import Weights

KIN = ["dora", "ia3", "locon", "loha", "lokr", "oft"]
LEAVES = {
    "dora": {"lora_down.weight", "lora_up.weight", "alpha", "dora_scale"},
    "ia3": {"weight", "on_input"},
    "locon": {"lora_down.weight", "lora_up.weight", "alpha"},
    "loha": {"hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "alpha"},
    "lokr": {"lokr_w1", "lokr_w2_a", "lokr_w2_b", "lokr_w2", "alpha"},
    "oft": {"oft_blocks", "alpha"},
}
WRONG = {  # interop 1.7
    "dora": {"A1111", "Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers"},
    "ia3": {"Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers"},
    "locon": set(),
    "loha": {"diffusers"},
    "lokr": {"diffusers"},
    "oft": {"Forge", "stable-diffusion.cpp", "diffusers"},
}
MakeLora = Callable[..., Weights]


@pytest.fixture
def trained(tiny_base: BaseModel) -> MakeLora:
    """trained("loha", layers="all") -> weights of a method as of a long training, of random values."""

    def make(name: str, **settings: Any) -> Weights:
        method = find_method(name)(find_method(name).Config.read(settings, "test"))
        method.attach(tiny_base)
        numbers = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for leaf, tensor in method.state().items():
                noise = torch.randn(tensor.shape, generator=numbers)
                tensor.mul_(1 + 0.2 * noise) if leaf.endswith("dora_scale") else tensor.add_(0.1 * noise)
        method.detach()
        return method.weights()

    return make


@pytest.mark.parametrize("name", KIN)
def test_each_program_is_told_of_what_it_reads_wrongly(
    tmp_path: Path, tiny_base: BaseModel, trained: MakeLora, name: str
) -> None:
    weights = trained(name, layers="all", **({} if name in ("oft", "ia3") else {"rank": 2}))
    path = tmp_path / "fox.safetensors"
    saved = save_weights(weights, path, model=tiny_base)
    assert {report.reader for report in saved.reports if report.fault} == WRONG[name]
    for report in saved.reports:
        if not report.fault:
            assert report.matched == len(weights.modules())
            assert not report.unmatched
            assert report.largest_error < 0.01
    assert {key.partition(".")[2] for key in load_file(path)} <= LEAVES[name]
    summary = inspect(path)
    assert summary.kind == ("lora" if name == "locon" else name)
    assert sum(summary.modules.values()) == len(weights.modules())
    assert summary.faults == FAULTS[summary.kind]
    read = load_weights(path)
    assert read.modules().keys() == weights.modules().keys()


@pytest.mark.parametrize("name", KIN)
def test_a_file_made_wrong_is_found_where_programs_read_it(
    tmp_path: Path, tiny_base: BaseModel, trained: MakeLora, name: str
) -> None:
    """By those that are known to read this form; where none does, nothing is claimed."""
    from limner.formats import verify

    weights = trained(name)
    path = tmp_path / "fox.safetensors"
    save_weights(weights, path)
    tensors = load_file(path)
    key = next(key for key in tensors if key.endswith(("up.weight", "w2_a", "lokr_w2", "oft_blocks", "to_k.weight")))
    save_file(tensors | {key: 2 * tensors[key]}, path)
    if name == "dora":
        assert {report.reader for report in verify(path, tiny_base, weights) if report.fault} == WRONG[name]
    else:
        with pytest.raises(UserError, match="as it was trained"):
            verify(path, tiny_base, weights)
