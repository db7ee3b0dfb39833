"""Noise, targets, weights and timesteps against their definitions and diffusers' own scheduler."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler
from training import examples

from limner import diffusion
from limner.base.conditioning import Conditioning
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.config import TrainSettings
from limner.data.batch import Batch
from limner.device import generator
from limner.diffusion import Objective
from limner.errors import UserError
from limner.evaluate import online
from limner.generators import finish
from limner.methods import slider
from limner.run import prior


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
            diffusion.loss_weights(signal, kind, Objective(min_snr_gamma=gamma))
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
    for objective in (Objective(min_snr_gamma=None), Objective(weighting="none")):
        assert diffusion.loss_weights(signal, "epsilon", objective).tolist() == [1.0] * 4


@pytest.mark.parametrize("weighting", ["debiased", "p2"])
def test_other_weightings_are_those_of_their_papers(tiny_base: BaseModel, weighting: Any) -> None:
    signal = tiny_base.alphas_cumprod[torch.tensor([0, 300, 999])]
    snr = signal / (1 - signal)
    of_noise = {"debiased": 1 / snr.sqrt(), "p2": 1 / (1 + snr)}[weighting]
    objective = Objective(weighting=weighting)
    torch.testing.assert_close(diffusion.loss_weights(signal, "epsilon", objective), of_noise)
    of_v = diffusion.loss_weights(signal, "v_prediction", objective)
    torch.testing.assert_close(of_v * (snr + 1), of_noise * snr)  # the same weight of the error of x0


def test_zero_terminal_snr_is_that_of_diffusers(tiny_base: BaseModel) -> None:
    with pytest.raises(UserError, match="predicts the noise"):
        diffusion.signal_levels(tiny_base, zero_terminal_snr=True)
    tiny_base.scheduler_config = tiny_base.scheduler_config | {"prediction_type": "v_prediction"}
    levels = diffusion.signal_levels(tiny_base, zero_terminal_snr=True)
    theirs = DDIMScheduler.from_config(tiny_base.scheduler_config, rescale_betas_zero_snr=True).alphas_cumprod
    torch.testing.assert_close(levels, theirs, atol=1e-5, rtol=1e-4)
    assert levels[-1] == 0
    latents, _, _ = _latents()
    batch = Batch(latents, ["a"] * 4, Conditioning(torch.randn(4, 77, 32, generator=generator(1))), torch.ones(4))
    with torch.no_grad():
        assert diffusion.loss(tiny_base, batch, generator(0), Objective(zero_terminal_snr=True)).isfinite()


def test_an_offset_moves_whole_channels() -> None:
    latents = torch.zeros(64, 4, 8, 8)
    plain, moved = (diffusion.draw_noise(latents, generator(0), offset) for offset in (0.0, 0.5))
    offsets = moved - plain
    assert offsets.flatten(2).std(dim=2).max() < 1e-6
    assert offsets.mean(dim=(2, 3)).std().item() == pytest.approx(0.5, rel=0.15)


def test_huber_is_the_square_of_small_errors_and_linear_in_large_ones() -> None:
    errors = torch.tensor([-1e-3, 0.0, 1e-3, 50.0, 51.0], dtype=torch.float64)
    assert torch.equal(diffusion.penalty(errors), errors.square())
    bounded = diffusion.penalty(errors, 0.1)
    torch.testing.assert_close(bounded[:3], errors[:3].square(), rtol=1e-3, atol=0)
    assert (bounded[4] - bounded[3]).item() == pytest.approx(0.2, rel=1e-4)


@pytest.mark.parametrize(
    ("changes", "changes_it"),
    [
        ({"timesteps": "high"}, True),
        ({"noise_offset": 0.3}, True),
        ({"input_perturbation": 0.3}, True),
        ({"huber": 0.1}, True),
        ({"weighting": "p2"}, True),
        ({"min_snr_gamma": 5.0}, False),
    ],
)
def test_each_part_of_the_objective_acts(tiny_base: BaseModel, changes: dict[str, Any], changes_it: bool) -> None:
    latents, _, _ = _latents()
    batch = Batch(latents, ["a"] * 4, Conditioning(torch.randn(4, 77, 32, generator=generator(1))), torch.ones(4))
    with torch.no_grad():
        plain, changed = (diffusion.loss(tiny_base, batch, generator(2), each) for each in (None, Objective(**changes)))
    assert (plain != changed) == changes_it


@pytest.mark.parametrize("batch", [1, 3, 8])
def test_timesteps_are_one_from_each_part_and_uniform_in_each_place(tiny_base: BaseModel, batch: int) -> None:
    drawn = torch.stack([diffusion.draw_timesteps(tiny_base, batch, generator(seed)) for seed in range(2000)])
    assert drawn.min() >= 0
    assert drawn.max() <= 999
    parts = (drawn * batch // 1000).sort(dim=1).values
    assert (parts - torch.arange(batch)).abs().max() <= 1  # a part's edge may fall inside a timestep
    assert drawn.float().mean(dim=0).sub(499.5).abs().max() < 35  # 5 standard errors: 289 / sqrt(2000) = 6.5 each


@pytest.mark.parametrize(
    ("name", "quartiles"), [("middle", (337, 500, 662)), ("low", (16, 125, 422)), ("high", (578, 875, 984))]
)
def test_timesteps_follow_their_distribution(tiny_base: BaseModel, name: Any, quartiles: tuple[int, ...]) -> None:
    drawn = diffusion.draw_timesteps(tiny_base, 4000, generator(0), name).float()
    found = drawn.quantile(torch.tensor([0.25, 0.5, 0.75]))
    torch.testing.assert_close(found, torch.tensor(quartiles).float(), atol=3, rtol=0)
    assert drawn.min() >= 0
    assert drawn.max() <= 999


@pytest.fixture
def shifted_base(flat_folder: Path) -> BaseModel:
    """A base that is trained at noisier timesteps than others, as flow models are."""
    model = open_base(flat_folder, torch.device("cpu"), torch.float32)
    model.__class__ = type("Shifted", (BaseModel,), {"timestep_shift": 3.0})
    return model


def test_all_that_asks_a_model_at_random_timesteps_follows_its_shift(
    shifted_base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uniform times in four equal parts, moved by 3 s / (1 + 2 s): 0, 500, 750, 900, 1000."""
    edges = torch.tensor([500, 750, 900])

    def parts(timesteps: Sequence[int] | torch.Tensor) -> list[int]:
        found = torch.bucketize(torch.as_tensor(timesteps), edges, right=True)
        return torch.bincount(found, minlength=4).tolist()

    assert parts(diffusion.draw_timesteps(shifted_base, 400, generator(0))) == [100] * 4
    assert parts(online.make_probe(shifted_base, examples(shifted_base, 1)[0], seed=1).timesteps) == [1] * 4

    told = {"images": tmp_path, "keyword": "zqvx", "class": "dog", "prior": "match", "class_count": 8}
    settings = TrainSettings.read(told | {"cache": tmp_path, "resolution": 64}, "test")
    subject = examples(shifted_base, 1)
    answers = finish(prior.prior_examples(shifted_base, settings, [], subject, Objective(), live_text=False))
    assert parts([each.known.timestep for each in answers if each.known]) == [2] * 4

    asked: list[int] = []
    predict = shifted_base.predict
    monkeypatch.setattr(shifted_base, "predict", lambda x, t, c: asked.extend(t.tolist()) or predict(x, t, c))
    batch = Batch(torch.zeros(8, 4, 8, 8), ["a"] * 8, None, torch.ones(8))
    diffusion.loss(shifted_base, batch, generator(1))
    assert parts(asked) == [2] * 4

    monkeypatch.setattr(slider, "STEPS", 8)
    asked.clear()
    turning = slider.Slider(slider.SliderConfig(positive="a red cat", negative="a blue cat", pictures=1))
    turning.attach(shifted_base)
    turning.detach()
    assert parts(asked[::4]) == [2] * 4  # of four prompts each


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


def test_masks_weigh_where_errors_are() -> None:
    errors = torch.zeros(3, 4, 8, 8)
    errors[:, :, :, :4] = 2.0  # left half wrong
    left = torch.zeros(8, 8)
    left[:, :4] = 1.0
    masks = torch.stack([torch.ones(8, 8), left, 1 - left])
    assert diffusion.mean_where_it_counts(errors, masks).tolist() == [1.0, 2.0, 0.0]
    assert torch.equal(diffusion.mean_where_it_counts(errors, None), errors.mean(dim=(1, 2, 3)))
    assert diffusion.mean_where_it_counts(errors, 0.5 * masks.new_ones(3, 8, 8)).tolist() == [1.0] * 3


def test_a_sliver_of_a_subject_does_not_shout() -> None:
    errors, masks = torch.ones(2, 4, 8, 8), torch.zeros(2, 8, 8)
    masks[0, 0, 0] = 1.0
    assert diffusion.mean_where_it_counts(errors, masks).tolist() == [0.25, 0.0]


def test_the_loss_takes_masks_from_the_batch(tiny_base: BaseModel) -> None:
    latents = torch.randn(3, 4, 8, 8, generator=generator(7))
    batch = Batch(latents, ["a", "b", "c"], None, torch.ones(3))
    whole, ones, none = (
        diffusion.loss(tiny_base, replace(batch, masks=masks), generator(3)).item()
        for masks in (None, torch.ones(3, 8, 8), torch.zeros(3, 8, 8))
    )
    assert ones == pytest.approx(whole, rel=1e-6)
    assert whole > 0 == none
