"""Random LoRAs for tiny bases of every family, and what diffusers makes of a file."""

from pathlib import Path
from typing import Any

import torch
from diffusers import DiffusionPipeline
from torch import nn

from limner.base.model import BaseModel
from limner.formats.factors import change
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


def check_in_diffusers(folder: Path, path: Path, model: BaseModel, weights: Weights, **parts: Any) -> None:
    """diffusers' own loader changes every tensor of its networks as the weights say, and no other."""
    pipeline = DiffusionPipeline.from_pretrained(folder, **parts)
    pipeline.load_lora_weights(path, adapter_name="fox")
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    trained = weights.modules()
    seen = set()
    for network in model.networks:
        if network == "vae":
            continue
        after = dict(getattr(pipeline, network).named_parameters())
        for name, before in model.networks[network].named_parameters():
            module = f"{network}.{name.removeprefix('text_model.').removesuffix('.weight')}"
            seen.add(module)
            want = change(trained[module], before) if module in trained else torch.zeros_like(before)
            torch.testing.assert_close(after[name] - before, want, atol=1e-6, rtol=1e-4)
    assert trained.keys() <= seen
