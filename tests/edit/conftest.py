"""Finished files for the tests of edits, and what they change."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from limner.base.model import BaseModel
from limner.formats import load_weights, save_weights
from limner.methods.applied import find_module, weight_of
from limner.methods.form import form_of
from limner.weights import Weights

Changes = dict[str, Tensor]


@pytest.fixture
def make_lora(tiny_base: BaseModel, tmp_path: Path) -> Callable[..., Path]:
    """make_lora(name, rank=4, alpha=3.0, layers=..., decay=1.0, seed=0, dtype=..., **metadata) -> a kohya file for the
    tiny base, of layers whose names contain one of `layers`; each direction is `decay` times as long as the one
    before."""

    def make(
        name: str = "zqvx",
        rank: int = 4,
        alpha: float = 3.0,
        layers: tuple[str, ...] = ("to_q", "ff.net.2", "conv1", "proj_in", "self_attn", "fc1", "fc2"),
        decay: float = 1.0,
        seed: int = 0,
        dtype: torch.dtype = torch.float32,
        words: dict[str, dict[str, Tensor]] | None = None,
        **metadata: str,
    ) -> Path:
        numbers = torch.Generator().manual_seed(seed)
        tensors = {}
        for network in ("unet", "text_encoder"):
            for path, module in tiny_base.networks[network].named_modules():
                if not hasattr(module, "weight") or module.weight.dim() < 2 or not any(part in path for part in layers):
                    continue
                out, *rest = module.weight.shape
                layer = f"{network}.{path.removeprefix('text_model.')}"
                lengths = decay ** torch.arange(rank)
                down, up = torch.randn(rank, *rest, generator=numbers), torch.randn(out, rank, generator=numbers)
                tensors[f"{layer}.lora_down"] = down / 10
                tensors[f"{layer}.lora_up"] = (up * lengths / 10).reshape(out, rank, *[1] * (len(rest) - 1))
                tensors[f"{layer}.alpha"] = torch.tensor(alpha)
        weights = Weights("lora", "sd1", tensors, metadata, words=words or {})
        return save_weights(weights, tmp_path / f"{name}.safetensors", dtype=dtype).path

    return make


@pytest.fixture
def changes_of(tiny_base: BaseModel) -> Callable[[Path], Changes]:
    """changes_of(file) -> {layer: what the file adds to its weight}, in double precision."""

    def changes(file: Path) -> Changes:
        found = {}
        for layer, leaves in load_weights(file).modules().items():
            module, form = find_module(tiny_base, layer), form_of(leaves)
            assert module is not None
            assert form is not None
            exact = {leaf: tensor.double() for leaf, tensor in leaves.items()}
            found[layer] = form.change(weight_of(module).double(), exact)
        return found

    return changes
