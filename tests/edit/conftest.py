"""Finished files for the tests of edits, and what they change."""

import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.container.header import read_header
from limner.formats import load_weights, save_weights
from limner.formats.layers import layers as all_layers
from limner.methods.applied import find_module, weight_of
from limner.methods.form import form_of
from limner.methods.full import Full, FullConfig
from limner.weights import Weights

Changes = dict[str, Tensor]


@pytest.fixture(scope="session")
def models(tiny_folders: Callable[[str], Path]) -> Callable[[str], BaseModel]:
    """models(family) -> the tiny base of a family in float32, to look at only."""
    return functools.cache(lambda family: open_base(tiny_folders(family), torch.device("cpu"), torch.float32))


@pytest.fixture
def make_lora(models: Callable[[str], BaseModel], tmp_path: Path) -> Callable[..., Path]:
    """make_lora(name, family="sd1", rank=4, alpha=3.0, layers=..., decay=1.0, seed=0, dtype=..., words=..., **metadata)
    -> a kohya file for a tiny base, of layers whose names contain one of `layers`; each direction is `decay` times as
    long as the one before."""

    def make(
        name: str = "zqvx",
        family: str = "sd1",
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
        for layer in all_layers(models(family)):
            if not any(part in layer.name for part in layers):
                continue
            out, *rest = layer.shape
            lengths = decay ** torch.arange(rank)
            down, up = torch.randn(rank, *rest, generator=numbers), torch.randn(out, rank, generator=numbers)
            tensors[f"{layer.name}.lora_down"] = down / 10
            tensors[f"{layer.name}.lora_up"] = (up * lengths / 10).reshape(out, rank, *[1] * (len(rest) - 1))
            tensors[f"{layer.name}.alpha"] = torch.tensor(alpha)
        weights = Weights("lora", family, tensors, metadata, words=words or {})
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


@pytest.fixture(scope="session")
def base_files(tiny_folders: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """base_files(family) -> the tiny base of a family as a single file in the original's layout, float32."""

    @functools.cache
    def make(family: str) -> Path:
        method = Full(FullConfig())
        method.attach(open_base(tiny_folders(family), torch.device("cpu"), torch.float32))
        method.detach()
        path = tmp_path_factory.mktemp("single") / f"tiny-{family}.safetensors"
        return save_weights(method.weights(), path, dtype=torch.float32).path

    return make


@pytest.fixture(scope="session")
def base_file(base_files: Callable[[str], Path]) -> Path:
    return base_files("sd1")


@pytest.fixture
def tune(base_file: Path, tmp_path: Path) -> Callable[..., Path]:
    """tune({key: change}, name="tuned", dtype=torch.float32) -> the base's file with changes added to tensors."""

    def make(changes: Changes, name: str = "tuned", dtype: torch.dtype = torch.float32) -> Path:
        tensors = {key: tensor.to(dtype) for key, tensor in load_file(base_file).items()}
        for key, change in changes.items():
            tensors[key] = (tensors[key].float() + change).to(dtype)
        path = tmp_path / f"{name}.safetensors"
        save_file(tensors, path, read_header(base_file).metadata)
        return path

    return make
