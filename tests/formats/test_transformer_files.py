"""LoRA files for a transformer, Stable Diffusion 3's: in diffusers' names, which ComfyUI reads too."""

from pathlib import Path

import pytest
import torch
from bases import save_tiny_sd3
from loras import check_in_diffusers
from safetensors.torch import load_file
from torch import nn

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.base.sd3 import SD3
from limner.errors import UserError
from limner.formats import load_weights, save_weights
from limner.methods.applied import apply
from limner.weights import Weights

WITHOUT = {"text_encoder_3": None, "tokenizer_3": None, "image_encoder": None, "feature_extractor": None}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd3(tmp_path_factory.mktemp("sd3") / "tiny")


@pytest.fixture
def model(folder: Path) -> BaseModel:
    return open_base(folder, torch.device("cpu"), torch.float32)


def lora(model: BaseModel, text: bool = True) -> Weights:
    numbers = torch.Generator().manual_seed(5)
    tensors = {}
    for network in (SD3.denoiser, "text_encoder", "text_encoder_2") if text else (SD3.denoiser,):
        for path, module in model.networks[network].named_modules():
            inside = any(part in path for part in ("attn", ".ff", "mlp.fc"))
            if isinstance(module, nn.Linear) and inside:
                name = f"{network}.{path.removeprefix('text_model.')}"
                tensors[f"{name}.lora_down"] = torch.randn(4, module.in_features, generator=numbers) / 10
                tensors[f"{name}.lora_up"] = torch.randn(module.out_features, 4, generator=numbers) / 10
                tensors[f"{name}.alpha"] = torch.tensor(2.0)
    return Weights("lora", "sd3", tensors)


def test_diffusers_and_comfyui_read_it(tmp_path: Path, folder: Path, model: BaseModel) -> None:
    weights = lora(model)
    path = tmp_path / "fox.safetensors"
    saved = save_weights(weights, path, dtype=torch.float32, model=model)
    told = {report.reader: (report.matched, report.unmatched, report.fault) for report in saved.reports}
    assert told == dict.fromkeys(("ComfyUI", "diffusers"), (len(weights.modules()), (), ""))
    assert "transformer.transformer_blocks.0.attn.to_q.lora_A.weight" in load_file(path)
    check_in_diffusers(folder, path, model, weights, **WITHOUT)


def test_it_comes_back_as_strong(tmp_path: Path, model: BaseModel) -> None:
    """The scale is in the factors, for ComfyUI takes no alpha from these files."""
    weights = lora(model)
    save_weights(weights, tmp_path / "fox.safetensors", dtype=torch.float32)
    read = load_weights(tmp_path / "fox.safetensors")
    assert (read.family, read.modules().keys()) == ("sd3", weights.modules().keys())
    before = {name: tensor.clone() for name, tensor in model.denoiser.state_dict().items()}
    undo = apply(model, weights)
    wanted = {name: tensor.clone() for name, tensor in model.denoiser.state_dict().items()}
    undo()
    undo = apply(model, read)
    for name, tensor in model.denoiser.state_dict().items():
        torch.testing.assert_close(tensor, wanted[name])
    undo()
    assert not all(torch.equal(wanted[name], tensor) for name, tensor in before.items())
    assert all(torch.equal(model.denoiser.state_dict()[name], tensor) for name, tensor in before.items())


def test_its_network_has_the_unets_strength(model: BaseModel) -> None:
    weights = lora(model, text=False)
    before = {name: tensor.clone() for name, tensor in model.denoiser.state_dict().items()}
    undo = apply(model, weights, unet_strength=0.0, text_strength=1.0)
    assert all(torch.equal(model.denoiser.state_dict()[name], tensor) for name, tensor in before.items())
    undo()


def test_kohyas_names_are_refused(tmp_path: Path, model: BaseModel) -> None:
    with pytest.raises(UserError, match=r"kohya.s format holds LoRAs of sd1, sd2, sdxl"):
        save_weights(lora(model), tmp_path / "fox.safetensors", "kohya")
