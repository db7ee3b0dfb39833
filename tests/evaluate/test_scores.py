"""Style is measured beside what the base could show; likeness beside the real pictures."""

import pytest
import torch

from limner.evaluate.features import Features
from limner.evaluate.scores import Scores


def features(seed: int, shift: float = 0.0, count: int = 12) -> Features:
    random = torch.Generator().manual_seed(seed)
    pooled = torch.nn.functional.normalize(torch.randn(count, 16, generator=random), dim=1)
    return Features(pooled, torch.randn(count, 64, generator=random) + shift)


@pytest.mark.parametrize("is_paired", [True, False])
def test_what_the_autoencoder_cannot_show_does_not_count_against_a_style(is_paired: bool) -> None:
    real = features(0)
    restored = Features(real.pooled, real.style + 5.0)  # blurred, far more than what is to be learned
    base = [Features(real.pooled, restored.style + 1.0)]
    scores = Scores(real, restored, base, is_paired=is_paired)
    assert scores.style([restored])[0].normalised == pytest.approx(1, abs=0.35 if not is_paired else 1e-4)
    assert scores.style(base)[0].normalised == 0
    half = [Features(real.pooled, restored.style + 0.5)]
    if is_paired:  # the samples are the same ones, which the estimate for two samples does not expect
        assert scores.style(half)[0].normalised == pytest.approx(0.5, abs=0.15)


def test_the_nearest_rival_is_the_floor() -> None:
    real, base = features(0), [features(1, 2.0)]
    near = [Features(real.pooled, real.style + 0.5)]
    scores = Scores(real, real, base, [near, [features(2, 3.0)]], is_paired=True)
    assert scores.style(near)[0].normalised == 0
    assert scores.likeness(near)[0].normalised is None  # it shows the very objects: nothing is left to learn
    assert (scores.style(base)[0].normalised or 0) < 0


def test_single_pictures_a_seed_have_figures_but_no_spread() -> None:
    seeds = [features(3, count=1), features(4, count=1)]
    alike = Features(torch.ones(3, 16) / 4, features(0, count=3).style)
    scores = Scores(alike, alike, seeds)
    assert scores.style(seeds)[1] is None
    assert scores.likeness(seeds)[1] is None
    assert scores.likeness(seeds)[0].score == 0
