"""LoRAs in torch's pickles: read as the safetensors are, whatever the file's name ends with."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from limner.container.header import read_tensors
from limner.formats import inspect, load_weights, save_weights
from limner.named import PromptFiles, short_hash
from limner.weights import Weights


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_a_pickled_lora_is_the_lora(tmp_path: Path, random_lora: Callable[..., Weights], zipped: bool) -> None:
    plain = tmp_path / "plain.safetensors"
    save_weights(random_lora(), plain, dtype=torch.float32)
    wanted, summary = load_weights(plain), inspect(plain)
    for name in ("fox.pt", "fox.ckpt", "fox.bin", "fox.safetensors", "fox"):
        path = tmp_path / name
        torch.save(read_tensors(plain), path, _use_new_zipfile_serialization=zipped)
        read = load_weights(path)
        assert read.tensors.keys() == wanted.tensors.keys()
        assert all(torch.equal(read.tensors[key], tensor) for key, tensor in wanted.tensors.items())
        told = inspect(path)
        assert (told.kind, told.naming, told.family) == (summary.kind, summary.naming, summary.family)
        assert (told.ranks, told.alphas, told.dtypes) == (summary.ranks, summary.alphas, summary.dtypes)
        assert told.webui_hash == short_hash(path) == told.sha256[:12]


def test_prompts_find_pickled_loras_by_name(tmp_path: Path, random_lora: Callable[..., Weights]) -> None:
    save_weights(random_lora(), tmp_path / "plain.safetensors")
    torch.save(read_tensors(tmp_path / "plain.safetensors"), tmp_path / "fox.pt")
    assert PromptFiles(tmp_path).find_lora("fox") == tmp_path / "fox.pt"
