"""Resampling in linear light: golden values, and another implementation's pixels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.preparation.framing import Framing
from limner.preparation.resample import resample, resample_mask


def view(box: tuple[float, float, float, float], width: int, height: int) -> Framing:
    return Framing(box, width, height, 0.0, 0.0, width / (box[2] - box[0]), "")


def whole(image: Image.Image, width: int, height: int) -> Framing:
    return view((0, 0, image.width, image.height), width, height)


def by_pillow(image: Image.Image, framing: Framing) -> np.ndarray:
    """sRGB levels, float64, by Pillow's Lanczos in floats on the light of the pixels that the view touches."""
    left, top, right, bottom = framing.box
    corner = math.floor(left), math.floor(top)
    view = image.crop((*corner, math.ceil(right), math.ceil(bottom)))
    levels = np.asarray(view) / 255
    light = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4).astype(np.float32)
    box = left - corner[0], top - corner[1], right - corner[0], bottom - corner[1]
    size = framing.width, framing.height
    channels = [
        np.asarray(Image.fromarray(light[:, :, c]).resize(size, Image.Resampling.LANCZOS, box), np.float64)
        for c in range(3)
    ]
    found = np.clip(np.stack(channels, axis=2), 0, 1)
    return 255 * np.where(found <= 0.0031308, found * 12.92, 1.055 * found ** (1 / 2.4) - 0.055)


def test_half_the_light_is_188() -> None:
    """A checker of black and white pixels seen from afar: sRGB's 188, of which the light is half of 255's."""
    checker = np.indices((512, 512)).sum(axis=0) % 2 * 255
    image = Image.fromarray(np.repeat(checker[:, :, None], 3, axis=2).astype(np.uint8))
    found = np.asarray(resample(image, whole(image, 64, 64)))
    assert (found[4:-4, 4:-4] == 188).all()
    by_levels = np.asarray(image.resize((64, 64), Image.Resampling.LANCZOS))  # what others make of it
    assert set(np.unique(by_levels[4:-4, 4:-4])) <= {127, 128}


@pytest.mark.parametrize("size", [(40, 24), (150, 90), (64, 64)])
def test_an_even_colour_stays_what_it_is(size: tuple[int, int]) -> None:
    for level in range(256):
        image = Image.new("RGB", (100, 60), (level, 255 - level, 128))
        assert set(resample(image, whole(image, *size)).get_flattened_data()) == {(level, 255 - level, 128)}


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_another_implementation_agrees_to_half_a_level(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(16, 1300)), data.draw(st.integers(16, 200))
    noise = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 256, (height, width, 3), dtype=np.uint8)
    left, top = data.draw(st.integers(0, width - 8)), data.draw(st.integers(0, height - 8))
    right, bottom = data.draw(st.floats(left + 8, width)), data.draw(st.floats(top + 8, height))
    framing = view((left, top, right, bottom), data.draw(st.integers(8, 160)), data.draw(st.integers(8, 160)))
    image = Image.fromarray(noise)
    found = resample(image, framing)
    assert found.size == (framing.width, framing.height)
    assert np.abs(np.asarray(found) - by_pillow(image, framing)).max() < 0.55
    assert found.tobytes() == resample(image, framing).tobytes()


def test_what_is_cut_away_leaves_no_trace() -> None:
    image = Image.new("RGB", (400, 300), "white")
    image.paste((10, 200, 30), (0, 50, 400, 250))
    found = resample(image, view((0, 50, 400, 250), 128, 64))
    assert set(found.get_flattened_data()) == {(10, 200, 30)}
    mask = Image.new("L", (400, 300), 255)
    mask.paste(0, (0, 50, 400, 250))
    assert set(resample_mask(mask, view((0, 50, 400, 250), 128, 64)).get_flattened_data()) == {0}


def test_a_view_of_its_size_already_is_copied() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (80, 90, 3), dtype=np.uint8)
    found = resample(Image.fromarray(noise), view((3, 5, 67, 69), 64, 64))
    assert np.array_equal(np.asarray(found), noise[5:69, 3:67])


def test_a_mask_keeps_its_share_of_white() -> None:
    levels = np.zeros((120, 160), np.uint8)
    levels[30:90, 40:120] = 255
    mask = Image.fromarray(levels)
    smaller = np.asarray(resample_mask(mask, whole(mask, 37, 29)))
    assert smaller.mean() == pytest.approx(levels.mean(), abs=0.5)
    larger = np.asarray(resample_mask(mask, whole(mask, 320, 240)))
    assert larger.mean() == pytest.approx(levels.mean(), abs=0.5)
    assert set(np.unique(levels)) == {0, 255}
    assert larger[120, 160] == 255
    assert larger[10, 10] == 0
