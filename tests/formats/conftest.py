"""Random LoRAs for the tiny base."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from limner.base.model import BaseModel
from limner.weights import Weights

TEXT = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


def _wanted(network: str, path: str, layers: str) -> bool:
    if network == "text_encoder":
        return path.endswith(TEXT)
    return ".attentions." in path if layers == "attention" else not path.startswith("time_embedding")


@pytest.fixture
def random_lora(tiny_base: BaseModel) -> Callable[..., Weights]:
    """random_lora(layers="attention" | "all", text=True, rank=4, alpha=3.0) -> Weights for the tiny base."""

    def make(layers: str = "attention", text: bool = True, rank: int = 4, alpha: float = 3.0) -> Weights:
        numbers = torch.Generator().manual_seed(7)
        tensors = {}
        for network in ("unet", "text_encoder") if text else ("unet",):
            for path, module in tiny_base.networks[network].named_modules():
                if isinstance(module, nn.Linear | nn.Conv2d) and _wanted(network, path, layers):
                    out, *rest = module.weight.shape
                    name = f"{network}.{path.removeprefix('text_model.')}"
                    tensors[f"{name}.lora_down"] = torch.randn(rank, *rest, generator=numbers) / 10
                    up = torch.randn(out, rank, generator=numbers) / 10
                    tensors[f"{name}.lora_up"] = up if len(rest) == 1 else up[:, :, None, None]
                    tensors[f"{name}.alpha"] = torch.tensor(alpha)
        return Weights("lora", "sd1", tensors)

    return make
