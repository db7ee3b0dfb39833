"""Where a border, a plain background and what stands out are, and by which name a background's colour goes."""

import numpy as np
import pytest
from photos import photo
from PIL import Image, ImageDraw

from limner.vision.border import border_of
from limner.vision.colours import COLOURS, background_name
from limner.vision.hashes import distance, phashes
from limner.vision.light import background_of, light_of
from limner.vision.salience import salient


def disc(ground: tuple[int, int, int], box: tuple[int, int, int, int] = (60, 90, 160, 190)) -> np.ndarray:
    image = Image.new("RGB", (300, 240), ground)
    ImageDraw.Draw(image).ellipse(box, fill=(90, 20, 120))
    return np.asarray(image)


@pytest.mark.parametrize("colour", COLOURS)
def test_the_colour_of_a_background(colour: str) -> None:
    assert background_name(disc(COLOURS[colour])) == colour


def test_a_background_of_many_colours_has_no_name() -> None:
    halves = np.concatenate([disc(COLOURS["red"]), disc(COLOURS["blue"])], axis=1)
    assert background_name(halves) == ""


def test_what_differs_from_a_plain_background_stands_out() -> None:
    region = salient(disc((240, 240, 238)))
    assert region is not None
    ends = (region.left, region.top, region.right, region.bottom)
    assert ends == pytest.approx((0.2, 0.375, 0.535, 0.79), abs=0.02)
    assert salient(np.full((80, 80, 3), 90, np.uint8)) is None


def test_a_patch_of_detail_on_soft_ground_stands_out() -> None:
    ground = photo(400, 400, 3).resize((20, 20)).resize((400, 400), Image.Resampling.BICUBIC)
    ground.paste(photo(100, 100, 1), (260, 40))
    region = salient(np.asarray(ground))
    assert region is not None
    assert (region.left + region.right) / 2 > 0.55
    assert (region.top + region.bottom) / 2 < 0.45


@pytest.mark.parametrize("widths", [(20, 20, 20, 20), (0, 30, 0, 40), (25, 0, 30, 0), (10, 40, 15, 50)])
@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 255, 255), (32, 64, 96)])
def test_borders_are_measured_to_the_pixel(widths: tuple[int, ...], colour: tuple[int, int, int]) -> None:
    left, top, right, bottom = widths
    canvas = Image.new("RGB", (300 + left + right, 260 + top + bottom), colour)
    canvas.paste(photo(300, 260), (left, top))
    wide, high = canvas.size
    assert border_of(np.asarray(canvas)) == pytest.approx((left / wide, top / high, right / wide, bottom / high))


def test_a_thing_on_plain_ground_has_no_border() -> None:
    assert not any(border_of(disc((255, 255, 255))))
    image = Image.new("RGB", (300, 240), "white")  # straight edges at three sides, wheels at the fourth
    draw = ImageDraw.Draw(image)
    draw.rectangle((50, 60, 250, 170), fill="orange")
    draw.ellipse((80, 150, 120, 190), fill="black")
    assert not any(border_of(np.asarray(image)))
    assert not any(border_of(np.asarray(photo(300, 240))))
    assert not any(border_of(np.zeros((90, 90, 3), np.uint8)))


def test_light_is_that_of_what_is_shown() -> None:
    rgb = disc((255, 255, 255))
    light = light_of(rgb, background_of(rgb))
    assert light.brightness > 0.85
    assert light.range[1] < 0.3
    assert light.burnt == 0
    dark = (rgb // 12).astype(np.uint8)
    assert light_of(dark, background_of(dark)).brightness < 0.1


def test_hashes_say_what_looks_alike() -> None:
    image = photo(600, 500)
    same = [image.resize((300, 250)), image.resize((1200, 1000)), image.crop((4, 4, 596, 496))]
    assert all(distance(phashes(np.asarray(image))[0], phashes(np.asarray(other))[0]) <= 8 for other in same)
    others = [photo(600, 500, seed) for seed in range(1, 5)]
    assert all(distance(phashes(np.asarray(image))[0], phashes(np.asarray(other))[0]) >= 18 for other in others)
