"""Random LoRAs for tiny bases of every family."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from loras import lora_for

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.weights import Weights


@pytest.fixture
def random_lora(tiny_base: BaseModel) -> Callable[..., Weights]:
    """random_lora(layers="attention" | "all", text=True, rank=4, alpha=3.0) -> Weights for the tiny base."""
    return lambda *args, **settings: lora_for(tiny_base, *args, **settings)


@pytest.fixture
def open_tiny(tiny_folders: Callable[[str], Path]) -> Callable[[str], BaseModel]:
    """open_tiny("sd1" | "sd2" | "sdxl"): the tiny base of that family, on the CPU in float32."""
    return lambda family: open_base(tiny_folders(family), torch.device("cpu"), torch.float32)
