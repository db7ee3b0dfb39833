from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limner.data.buckets import assign, buckets
from limner.data.crop import SMALLEST_VIEW, crops_for, enlarged, pixels
from limner.data.folder import Picture
from limner.errors import UserError

SIDES = st.integers(16, 9000)


def picture(width: int, height: int, sha256: str = "ab" * 32) -> Picture:
    return Picture(Path("a.png"), sha256, width, height)


@pytest.mark.parametrize(("resolution", "step"), [(64, 16), (128, 16), (256, 16), (512, 64), (768, 64), (1024, 64)])
def test_buckets(resolution: int, step: int) -> None:
    sizes = buckets(resolution)
    assert (resolution, resolution) in sizes
    assert all(width % step == 0 and height % step == 0 for width, height in sizes)
    assert all(0.6 * resolution**2 < width * height <= resolution**2 for width, height in sizes)
    assert set(sizes) == {(height, width) for width, height in sizes}


@pytest.mark.parametrize(("resolution", "better"), [(500, 512), (0, 32), (-64, 32), (100, 96)])
def test_odd_resolutions_are_refused(resolution: int, better: int) -> None:
    with pytest.raises(UserError, match=f"take {better}"):
        buckets(resolution)


def test_phone_photos_fall_into_their_buckets() -> None:
    assert assign(3024, 4032, buckets(512)) == (448, 576)
    assert assign(4032, 3024, buckets(512)) == (576, 448)
    assert assign(1080, 1920, buckets(512)) == (384, 640)
    assert assign(16, 9000, buckets(512)) == (256, 1024)
    assert assign(700, 700, buckets(512)) == (512, 512)


@given(SIDES, SIDES, st.sampled_from([64, 128, 512]), st.integers(0, 5), st.integers())
def test_crops_lie_inside_keep_the_shape_and_enlarge_no_more_than_they_must(
    width: int, height: int, resolution: int, count: int, seed: int
) -> None:
    crops = crops_for(picture(width, height), resolution, count, seed)
    centre = crops[0]
    assert 1 <= len(crops) <= count + 1
    for crop in crops:
        left, top, right, bottom = crop.box
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert (right - left) / (bottom - top) == pytest.approx(crop.width / crop.height)
        assert SMALLEST_VIEW - 1e-9 <= (right - left) / (centre.box[2] - centre.box[0]) <= 1 + 1e-9
        assert crop.enlargement <= max(1, centre.enlargement) + 1e-9
    assert crops == crops_for(picture(width, height), resolution, count, seed)


def test_seed_and_content_decide_the_random_crops_and_more_change_none() -> None:
    phone = picture(3024, 4032)
    five = crops_for(phone, 512, 5, seed=1)
    assert len(five) == 6
    assert five[:3] == crops_for(phone, 512, 2, seed=1)
    assert five[1:] != crops_for(phone, 512, 5, seed=2)[1:]
    assert five[0] == crops_for(phone, 512, 5, seed=2)[0]
    assert five[1:] != crops_for(picture(3024, 4032, "cd" * 32), 512, 5, seed=1)[1:]


def test_a_picture_of_the_bucket_s_size_has_one_crop() -> None:
    assert len(crops_for(picture(512, 512), 512, 4, seed=0)) == 1
    assert enlarged([picture(512, 512), picture(256, 256)], 512) == [(picture(256, 256), 2.0)]


def test_centre_crop_of_matching_size_is_the_picture() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    (crop,) = crops_for(picture(64, 64), 64, 0, seed=0)
    tensor = pixels(noise, crop)
    assert tensor.shape == (3, 64, 64)
    assert np.array_equal(np.rint((tensor.permute(1, 2, 0).numpy() + 1) * 127.5), np.asarray(noise))
