"""Random LoRAs for tiny bases of every family."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.weights import Weights

TEXT = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


def _wanted(network: str, path: str, layers: str) -> bool:
    if network.startswith("text_encoder"):
        return path.endswith(TEXT)
    return ".attentions." in path if layers == "attention" else not path.startswith(("time_embedding", "add_embedding"))


def lora_for(
    model: BaseModel, layers: str = "attention", text: bool = True, rank: int = 4, alpha: float = 3.0
) -> Weights:
    """A LoRA of random numbers for a base, of its transformers or of all layers that every program can name."""
    numbers = torch.Generator().manual_seed(7)
    tensors = {}
    networks = [name for name in model.networks if name == "unet" or (text and name.startswith("text_encoder"))]
    for network in networks:
        for path, module in model.networks[network].named_modules():
            if isinstance(module, nn.Linear | nn.Conv2d) and _wanted(network, path, layers):
                out, *rest = module.weight.shape
                name = f"{network}.{path.removeprefix('text_model.')}"
                tensors[f"{name}.lora_down"] = torch.randn(rank, *rest, generator=numbers) / 10
                up = torch.randn(out, rank, generator=numbers) / 10
                tensors[f"{name}.lora_up"] = up if len(rest) == 1 else up[:, :, None, None]
                tensors[f"{name}.alpha"] = torch.tensor(alpha)
    return Weights("lora", model.family.name, tensors)


@pytest.fixture
def random_lora(tiny_base: BaseModel) -> Callable[..., Weights]:
    """random_lora(layers="attention" | "all", text=True, rank=4, alpha=3.0) -> Weights for the tiny base."""
    return lambda *args, **settings: lora_for(tiny_base, *args, **settings)


@pytest.fixture
def open_tiny(tiny_folders: Callable[[str], Path]) -> Callable[[str], BaseModel]:
    """open_tiny("sd1" | "sd2" | "sdxl"): the tiny base of that family, on the CPU in float32."""
    return lambda family: open_base(tiny_folders(family), torch.device("cpu"), torch.float32)
