"""Each family's base opens from diffusers' layout, and encodes and predicts as diffusers' own pipeline does."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline

from limner.base.families import UNETS
from limner.base.open import open_base

PROMPTS = ["a red fox, a cat & 2 dogs", "x"]


@pytest.mark.parametrize("family", UNETS)
def test_it_predicts_as_diffusers_does(tiny_folders: Callable[[str], Path], family: str) -> None:
    folder = tiny_folders(family)
    model = open_base(folder, torch.device("cpu"), torch.float32)
    assert model.family is UNETS[family]
    told = model.encode_prompts(PROMPTS)
    pipeline = DiffusionPipeline.from_pretrained(folder)
    encoded = pipeline.encode_prompt(PROMPTS, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False)
    torch.testing.assert_close(told.hidden_states, encoded[0])
    added = None
    if family == "sdxl":
        torch.testing.assert_close(told.pooled, encoded[2])
        sizes = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * 2)
        added = {"text_embeds": encoded[2], "time_ids": sizes}
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    steps = torch.tensor([10, 700])
    wanted = pipeline.unet(latents, steps, encoded[0], added_cond_kwargs=added).sample
    torch.testing.assert_close(model.predict(latents, steps, told), wanted, atol=1e-5, rtol=1e-4)
