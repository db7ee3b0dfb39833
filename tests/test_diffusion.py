"""Noise, targets, weights and timesteps against their definitions and diffusers' own scheduler."""

from dataclasses import replace

import pytest
import torch
from diffusers import DDIMScheduler

from limner import diffusion
from limner.base.model import BaseModel, Conditioning
from limner.data.batch import Batch
from limner.device import generator


@pytest.fixture
def scheduler(tiny_base: BaseModel) -> DDIMScheduler:
    return DDIMScheduler.from_config(tiny_base.scheduler_config)


def _latents(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    random = generator(seed)
    return (
        torch.randn(4, 4, 8, 8, generator=random),
        torch.randn(4, 4, 8, 8, generator=random),
        torch.tensor([0, 9, 500, 999]),
    )


def test_noise_and_v_are_those_of_diffusers(tiny_base: BaseModel, scheduler: DDIMScheduler) -> None:
    latents, noise, timesteps = _latents()
    signal = tiny_base.alphas_cumprod[timesteps]
    torch.testing.assert_close(
        diffusion.add_noise(latents, noise, signal), scheduler.add_noise(latents, noise, timesteps)
    )
    torch.testing.assert_close(
        diffusion.prediction_target(latents, noise, signal, "v_prediction"),
        scheduler.get_velocity(latents, noise, timesteps),
    )
    assert diffusion.prediction_target(latents, noise, signal, "epsilon") is noise


def test_min_snr_weighs_the_same_error_of_x0_the_same_in_both_predictions(tiny_base: BaseModel) -> None:
    latents, noise, timesteps = _latents()
    signal = tiny_base.alphas_cumprod[timesteps]
    wrong_latents = latents + 0.1  # and the noise that x_t and these latents imply
    a = signal.view(-1, 1, 1, 1)
    wrong_noise = (diffusion.add_noise(latents, noise, signal) - a.sqrt() * wrong_latents) / (1 - a).sqrt()
    for gamma in (1.0, 5.0):
        weighted = [
            diffusion.snr_weights(signal, kind, gamma)
            * (
                diffusion.prediction_target(latents, noise, signal, kind)
                - diffusion.prediction_target(wrong_latents, wrong_noise, signal, kind)
            )
            .square()
            .mean(dim=(1, 2, 3))
            for kind in ("epsilon", "v_prediction")
        ]
        expected = (signal / (1 - signal)).clamp(max=gamma) * 0.01
        for found in weighted:
            torch.testing.assert_close(found, expected, rtol=2e-3, atol=1e-6)
    assert diffusion.snr_weights(signal, "epsilon", None).tolist() == [1.0] * 4


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_timesteps_are_one_from_each_part_and_uniform_in_each_place(batch: int) -> None:
    drawn = torch.stack([diffusion.stratified_timesteps(batch, 1000, generator(seed)) for seed in range(2000)])
    assert drawn.min() >= 0
    assert drawn.max() <= 999
    parts = (drawn * batch // 1000).sort(dim=1).values
    assert (parts - torch.arange(batch)).abs().max() <= 1  # a part's edge may fall inside a timestep
    assert drawn.float().mean(dim=0).sub(499.5).abs().max() < 35  # 5 standard errors: 289 / sqrt(2000) = 6.5 each


def test_loss_weighs_examples_and_repeats_itself(tiny_base: BaseModel) -> None:
    latents, _, _ = _latents()
    conditioning = Conditioning(torch.randn(4, 77, 32, generator=generator(1)))
    batch = Batch(latents, ["a cat"] * 4, conditioning, torch.ones(4))
    with torch.no_grad():
        once, again, other = (diffusion.loss(tiny_base, batch, generator(seed)) for seed in (3, 3, 4))
        doubled = diffusion.loss(tiny_base, replace(batch, weights=torch.full((4,), 2.0)), generator(3))
        only_first = diffusion.loss(tiny_base, replace(batch, weights=torch.tensor([1.0, 0, 0, 0])), generator(3))
    assert once == again
    assert once != other
    torch.testing.assert_close(doubled, 2 * once)
    assert 0 < only_first < once


def test_captions_are_encoded_when_the_batch_brings_no_conditioning(tiny_base: BaseModel) -> None:
    latents, _, _ = _latents()
    captions = ["a cat", "a dog", "", "a cat on a mat"]
    with torch.no_grad():
        cached = diffusion.loss(
            tiny_base, Batch(latents, captions, tiny_base.encode_prompts(captions), torch.ones(4)), generator(0)
        )
        live = diffusion.loss(tiny_base, Batch(latents, captions, None, torch.ones(4)), generator(0))
    assert cached == live
