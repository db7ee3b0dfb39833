"""Figures have the values that their definitions say, and tell real styles apart."""

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageOps

from limner.evaluate.features import Evaluator, Features
from limner.evaluate.metrics import (
    Figure,
    Spread,
    drift,
    likeness,
    likeness_by_object,
    likeness_to_others,
    near_copies,
    share_of_way,
    style_distance,
    style_distance_by_object,
    style_scale,
)

Samples = dict[str, Image.Image]


def random_features(count: int, seed: int = 0, shift: float = 0.0) -> Features:
    generator = torch.Generator().manual_seed(seed)
    pooled = torch.nn.functional.normalize(torch.randn(count, 16, generator=generator), dim=1)
    return Features(pooled, torch.randn(count, 64, generator=generator) + shift)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(-1, 1))
def test_a_figure_lies_between_floor_and_ceiling(score: float, floor: float, ceiling: float) -> None:
    figure = Figure(score, floor, ceiling)
    if ceiling <= floor:
        assert figure.normalised is None
    elif ceiling - floor > 1e-6:
        assert Figure(floor, floor, ceiling).normalised == 0
        assert Figure(ceiling, floor, ceiling).normalised == 1
        assert figure.normalised == pytest.approx((score - floor) / (ceiling - floor))


def test_spread_of_one_run_is_unknown() -> None:
    assert Spread.of([0.5]) == Spread(0.5, None)
    assert Spread.of([0.4, 0.5, 0.6]) == Spread(pytest.approx(0.5), pytest.approx(0.1))


def test_likeness_counts_every_pair_and_leaves_out_a_pictures_own_original() -> None:
    real = random_features(6)
    assert likeness(real, real) == pytest.approx(float((real.pooled @ real.pooled.T).mean()))
    others = [float(real.pooled[i] @ real.pooled[j]) for i in range(6) for j in range(6) if i != j]
    assert likeness_to_others(real, real) == pytest.approx(sum(others) / 30, abs=1e-6)
    assert likeness_by_object(real, real) == pytest.approx(1)
    assert drift(real, real) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="others"):
        likeness_to_others(real[:1], real[:1])


def test_style_distance_is_the_shift_whatever_the_sample() -> None:
    scale = torch.ones(64)
    same = [style_distance(random_features(12, seed), random_features(12, 100 + seed), scale) for seed in range(40)]
    moved = [style_distance(random_features(12, s, 0.8), random_features(12, 100 + s), scale) for s in range(40)]
    assert sum(same) / 40 < 0.12  # a plain distance of means would say 0.41
    assert sum(moved) / 40 == pytest.approx(0.8, abs=0.05)
    with pytest.raises(ValueError, match="at least two"):
        style_distance(random_features(1), random_features(5), scale)


def test_by_object_what_is_shown_falls_out() -> None:
    shown = random_features(10)
    redrawn = Features(shown.pooled, shown.style + 0.25)
    assert style_distance_by_object(redrawn, shown, torch.ones(64)) == pytest.approx(0.25, abs=1e-5)


def test_style_distance_separates_ways_of_drawing_the_same_and_other_objects(
    evaluator: Evaluator, samples: Samples
) -> None:
    """Half the objects as they are against the other half as they are, and as outlines."""
    pictures = list(samples.values())
    first, second = evaluator(pictures[::2]), evaluator(pictures[1::2])
    outlined = [ImageOps.posterize(ImageOps.grayscale(picture).convert("RGB"), 2) for picture in pictures]
    foreign = evaluator(outlined[1::2])
    scale = style_scale(first, second, foreign)
    same, other = style_distance(first, second, scale), style_distance(first, foreign, scale)
    assert same < 0.2
    assert other > 2 * same
    assert style_distance_by_object(foreign, second, scale) > 0.25


def jpeg(image: Image.Image) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=60)
    return Image.open(buffer)


def test_copies_are_found_and_new_pictures_are_not(samples: Samples) -> None:
    names = list(samples)
    training = [samples[name] for name in names[:12]]
    cat = samples[names[0]]
    copies = [jpeg(cat), ImageOps.mirror(cat), cat.resize((128, 128)), samples[names[5]]]
    assert near_copies(copies, training) == [True] * 4
    assert near_copies([samples[name] for name in names[12:]], training) == [False] * 12
    blank = Image.new("RGB", (64, 64), "white")
    assert near_copies([blank], training) == [False]


def test_pictures_that_were_alike_from_the_start_are_no_copies() -> None:
    def disc(left: int) -> Image.Image:
        image = Image.new("RGB", (64, 64), "white")
        ImageDraw.Draw(image).ellipse((left, 16, left + 32, 48), "black")
        return image

    training = [disc(left) for left in (4, 5, 6, 7, 8)]
    assert near_copies([disc(9)], training) == [False]
    assert near_copies([disc(4)], training) == [True]


@pytest.mark.parametrize("by_object", [True, False])
def test_the_share_of_the_way_whatever_lies_across(by_object: bool) -> None:
    """20 samples; the way is one of the first half of the channels, what is drawn badly one of the second."""
    shares = []
    way = torch.cat([torch.ones(32), torch.zeros(32)])
    for seed in range(20):
        base, noise = random_features(12, seed).style, random_features(12, 100 + seed).style
        real = (base if by_object else noise) + 2 * way
        damage = torch.randn(12, 64, generator=torch.Generator().manual_seed(200 + seed)) + 1 - way
        states = (base + damage, base + way + damage, base + 2 * way)
        shares.append([share_of_way(state, base, real, by_object) for state in states])
    assert torch.tensor(shares).mean(0).tolist() == pytest.approx([0, 0.5, 1], abs=0.06)
    assert share_of_way(base, base, real, by_object) == pytest.approx(0, abs=1e-6)


def test_there_is_no_share_where_there_is_no_way() -> None:
    base = random_features(12, 0).style
    assert share_of_way(base, base, base, by_object=True) is None
