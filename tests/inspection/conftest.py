"""LoRAs of random numbers for the tiny base."""

from collections.abc import Callable

import pytest
import torch

from limner.base.model import BaseModel
from limner.device import generator
from limner.methods.lora import LoRA, LoRAConfig
from limner.weights import Weights


@pytest.fixture
def random_lora(tiny_base: BaseModel) -> Callable[..., Weights]:
    """random_lora(text=True, alpha=3.0) -> the same Weights each time, but for what is asked for."""

    def make(text: bool = True, alpha: float = 3.0) -> Weights:
        lora = LoRA(LoRAConfig(rank=4, alpha=alpha, text_encoder=text))
        lora.attach(tiny_base)
        numbers = generator(7)
        with torch.no_grad():
            for tensor in lora.state().values():
                tensor.copy_(0.1 * torch.randn(tensor.shape, generator=numbers))
        lora.detach()
        return lora.weights()

    return make
