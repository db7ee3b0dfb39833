"""The figures by which a training is judged as it runs: repeatable, zero where nothing changed, right where it did."""

import math
import random
from dataclasses import replace

import pytest
import torch
from training import examples

from limner.base.model import BaseModel
from limner.evaluate import online


def test_a_probe_is_a_function_of_its_seed_with_a_timestep_in_each_bin(tiny_base: BaseModel) -> None:
    (example,) = examples(tiny_base, 1)
    first, again, other = (online.make_probe(tiny_base, example, seed) for seed in (3, 3, 4))
    assert torch.equal(first.noisy, again.noisy)
    assert not torch.equal(first.noisy, other.noisy)
    assert (first.timesteps * online.BINS // 1000).tolist() == list(range(online.BINS))


def test_losses_and_drift(tiny_base: BaseModel) -> None:
    probes = [online.make_probe(tiny_base, example, seed) for seed, example in enumerate(examples(tiny_base, 2))]
    global_state = torch.random.get_rng_state()
    losses = online.loss_by_bin(tiny_base, probes)
    one_by_one = [online.loss_by_bin(tiny_base, [probe]) for probe in probes]
    (answer,) = online.answers(tiny_base, probes[:1])
    assert one_by_one[0] == pytest.approx((answer - probes[0].targets).square().mean(dim=(1, 2, 3)).tolist())
    assert losses == pytest.approx([sum(pair) / 2 for pair in zip(*one_by_one, strict=True)])
    assert online.mean_loss(tiny_base, probes) == pytest.approx(sum(losses) / online.BINS)
    asked = online.as_answered(tiny_base, probes)
    assert online.mean_loss(tiny_base, asked) == 0
    with torch.no_grad():
        tiny_base.networks["unet"].conv_out.bias += 0.5
    assert online.loss_by_bin(tiny_base, asked) == pytest.approx([0.25] * online.BINS, rel=1e-4)
    assert torch.equal(torch.random.get_rng_state(), global_state)


def test_live_text_is_asked_as_cached_text_is(tiny_base: BaseModel) -> None:
    (example,) = examples(tiny_base, 1)
    probe = online.make_probe(tiny_base, example, 0)
    cached, live, other = online.answers(
        tiny_base, [probe, probe.told(example.caption, None), probe.told("another", None)]
    )
    assert torch.allclose(cached, live, atol=1e-6)
    assert not torch.allclose(cached, other, atol=1e-3)


def test_probes_of_different_sizes_and_lengths_are_asked_apart(tiny_base: BaseModel) -> None:
    (example,) = examples(tiny_base, 1)
    long = ", ".join(["a cat"] * 60)
    wide = replace(example, latents=torch.cat([example.latents] * 2, dim=2))
    probes = [online.make_probe(tiny_base, each, 0) for each in (example, wide, replace(example, caption=long))]
    probes[2] = probes[2].told(long, None)
    apart = [online.answers(tiny_base, [probe])[0] for probe in probes]
    assert [said.shape[-1] for said in apart] == [8, 16, 8]
    for together, alone in zip(online.answers(tiny_base, probes), apart, strict=True):
        assert torch.equal(together, alone)


def test_binding() -> None:
    assert online.binding(0.2, 0.2) == 0
    assert online.binding(0.15, 0.2) == pytest.approx(0.25)


@pytest.mark.parametrize(("count", "wanted", "chosen"), [(2, 3, [0, 1]), (7, 3, [1, 3, 5]), (100, 2, [24, 74])])
def test_some_are_evenly_chosen(count: int, wanted: int, chosen: list[int]) -> None:
    assert online.some(range(count), wanted) == chosen


def test_a_falling_loss_has_settled_when_it_is_flat_and_not_before() -> None:
    rng = random.Random(0)
    losses = [math.exp(-step / 40) + 0.01 * rng.gauss(0, 1) for step in range(400)]
    settled = next(step for step in range(400) if online.has_settled(losses[:step], 50, 0.15))
    assert 60 < settled < 160
    assert not online.has_settled([0.5 - step / 400 for step in range(400)], 200, 0.15)  # still falls, evenly
    assert not online.has_settled([1.0] * 50, 50, 0.15)  # too few to tell
