"""Crops: inside the picture, in the bucket's shape, around the subject, the same every time."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from preparation.pictures import photo as photo_of

from limner.checking.facts import Facts
from limner.checking.measure import Measure
from limner.data.buckets import assign, buckets, trained_whole
from limner.data.crop import crops_for, pixels
from limner.data.folder import Picture
from limner.data.source import Source
from limner.errors import UserError
from limner.preparation.framing import Framing, frame
from limner.preparation.resample import resample
from limner.vision.region import Region

SIZES = buckets(512)
SIDES = st.integers(16, 6000)
SHARES = st.floats(0, 1)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    left, top = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.9))
    return Region(left, top, draw(st.floats(left + 0.02, 1)), draw(st.floats(top + 0.02, 1)))


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    border = tuple(draw(st.sampled_from([0.0, 0.0, 0.1, 0.3])) for _ in range(4))
    faces = tuple(draw(st.lists(regions(), max_size=3)))
    salient = draw(st.none() | regions())
    return Facts("a.jpg", width=draw(SIDES), height=draw(SIDES), border=border, faces=faces, salient=salient)


def shows(framing: Framing, box: tuple[float, float, float, float], by: float = 1.0) -> bool:
    """Whether a box in pixels lies inside the view, but for `by` pixels."""
    left, top, right, bottom = framing.box
    return left <= box[0] + by and top <= box[1] + by and right >= box[2] - by and bottom >= box[3] - by


def photo(width: int, height: int, *faces: Region, salient: Region | None = None) -> Facts:
    return Facts("a.jpg", width=width, height=height, faces=faces, salient=salient)


@settings(deadline=None)
@given(facts(), st.sampled_from([64, 512, 1024]), st.none() | regions())
def test_a_view_lies_inside_in_the_shape_of_a_bucket(found: Facts, resolution: int, by_hand: Region | None) -> None:
    sizes = buckets(resolution)
    framing = frame(found, sizes, by_hand)
    left, top, right, bottom = framing.box
    assert 0 <= left < right <= found.width
    assert 0 <= top < bottom <= found.height
    assert (framing.width, framing.height) in sizes
    assert (right - left) / (bottom - top) == pytest.approx(framing.width / framing.height)
    assert framing.enlargement == pytest.approx(framing.width / (right - left))
    assert 0 <= framing.subject_lost <= 1
    assert framing.lost == pytest.approx(1 - (right - left) * (bottom - top) / (found.width * found.height), abs=1e-9)
    assert framing == frame(found, sizes, by_hand)
    assert framing == frame(found, sizes[::-1], by_hand)
    if by_hand:
        assert framing.why == "by hand"
        named = (by_hand.left, by_hand.top, by_hand.right, by_hand.bottom)
        box = [share * side for share, side in zip(named, (found.width, found.height) * 2, strict=True)]
        assert left >= box[0] - 1
        assert top >= box[1] - 1
        assert right <= box[2] + 1
        assert bottom <= box[3] + 1


@given(SIDES, SIDES, SHARES, SHARES)
def test_one_face_that_fits_is_never_cut(width: int, height: int, across: float, down: float) -> None:
    """Whatever the picture's shape; a head is a tenth of the shorter side here."""
    across_share, down_share = 0.1 * min(1, height / width), 0.1 * min(1, width / height)
    left, top = across * (1 - across_share), down * (1 - down_share)
    face = Region(left, top, left + across_share, top + down_share)
    framing = frame(photo(width, height, face), SIZES)
    if 2 > width / height > 0.5:
        box = face.left * width, face.top * height, face.right * width, face.bottom * height
        assert shows(framing, box)
        # A view begins at a whole pixel: of the head, 1.4 times as wide as the face, less than one is lost per axis.
        assert framing.subject_lost < 2 / (1.4 * 0.1 * min(width, height))


def test_a_whole_head_with_room_above() -> None:
    """A standing person in a picture far taller than the bucket: the eyes come to the upper third."""
    framing = frame(photo(1000, 3000, Region(0.4, 0.2, 0.6, 0.26)), [(512, 512)])
    eyes = (0.2 + 0.4 * 0.06) * 3000
    assert (eyes - framing.box[1]) / 1000 == pytest.approx(1 / 3, abs=0.03)
    assert framing.why == "around the face"
    # Of a head that is larger than the view the face stays whole, with more room above than below.
    close = frame(photo(1000, 3000, Region(0.05, 0.3, 0.95, 0.58)), [(512, 512)])
    above, below = 0.3 * 3000 - close.box[1], close.box[3] - 0.58 * 3000
    assert above > below > 0
    assert close.subject_lost == 0


def test_of_faces_that_do_not_fit_the_largest_stays_whole_and_none_is_cut_in_two() -> None:
    large, small = Region(0.05, 0.3, 0.15, 0.5), Region(0.55, 0.4, 0.59, 0.48)
    framing = frame(photo(6000, 1500, large, small), [(512, 512)])
    left, _, right, _ = framing.box
    assert left <= 0.05 * 6000
    assert right >= 0.15 * 6000
    assert not left < 0.55 * 6000 < right
    both = frame(photo(6000, 1500, Region(0.1, 0.3, 0.15, 0.5), Region(0.2, 0.4, 0.24, 0.5)), [(512, 512)])
    assert both.subject_lost == 0
    assert both.why == "around 2 faces"


def test_the_bucket_that_keeps_the_subject_wins_among_those_near_in_shape() -> None:
    """Two heads at the left and right ends need the wide one, at the top and the bottom the square."""
    sizes = [(512, 512), (576, 448)]
    wide = photo(1150, 1000, Region(0.01, 0.4, 0.1, 0.5), Region(0.9, 0.4, 0.99, 0.5))
    assert assign(1150, 1000, sizes) == (576, 448)
    tall = photo(1150, 1000, Region(0.3, 0.06, 0.4, 0.16), Region(0.3, 0.84, 0.4, 0.97))
    assert frame(wide, sizes).width == 576
    assert frame(tall, sizes).width == 512
    assert frame(tall, sizes).subject_lost < 0.01


def test_what_stands_out_then_the_middle() -> None:
    framing = frame(photo(2000, 1000, salient=Region(0.7, 0.2, 0.9, 0.9)), [(512, 512)])
    assert framing.box == (1000, 0, 2000, 1000)
    assert framing.why == "around what stands out"
    assert framing.lost == 0.5
    middle = frame(photo(2000, 1000), [(512, 512)])
    assert middle.box == (500, 0, 1500, 1000)
    assert middle.why == "the middle"
    assert middle.subject_lost == 0
    assert frame(photo(700, 700), SIZES).why == "the whole picture"


def test_borders_are_cut_away_first() -> None:
    letterboxed = Facts("a.jpg", width=1280, height=1280, border=(0, 0.2501, 0, 0.25))
    framing = frame(letterboxed, SIZES)
    assert framing.box[1] >= 0.2501 * 1280
    assert framing.box[3] <= 0.75 * 1280
    assert framing.width > framing.height
    assert "inside the border" in framing.why
    assert frame(Facts("a.jpg", width=200, height=200, border=(0.5, 0.5, 0.5, 0.5)), SIZES).lost == 0


@pytest.mark.parametrize("bar", [150, 151, 153])
def test_nothing_is_left_of_bars_as_they_are_measured(tmp_path: Path, bar: int) -> None:
    """Through a JPEG that is looked at smaller than it is; the first and the last row are as bright as others."""
    image = photo_of(3, 2000, 1600).point(lambda level: 80 + level // 2)
    for top in (0, 1600 - bar):
        image.paste("black", (0, top, 2000, top + bar))
    image.save(tmp_path / "a.jpg", quality=90)
    found = Measure(features=False)(Source(tmp_path, "a.jpg")).facts
    assert found.border[1] > 0
    rows = np.asarray(resample(image, frame(found, [(512, 512)]))).mean(axis=(1, 2))
    assert rows[:2].min() > 0.97 * rows[2:4].mean()
    assert rows[-2:].min() > 0.97 * rows[-4:-2].mean()


def test_a_small_picture_is_framed_and_says_how_much_it_would_be_enlarged() -> None:
    assert frame(photo(100, 100), SIZES).enlargement == 5.12
    # Of buckets near in shape one that needs no more than is allowed comes first.
    wide = photo(650, 350)
    assert frame(wide, SIZES, most_enlargement=2).enlargement == pytest.approx(384 / 350)
    assert frame(wide, SIZES, most_enlargement=1.09).enlargement == pytest.approx(704 / 650)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from([64, 128, 512]), st.integers(300, 3000), st.integers(300, 3000))
def test_a_prepared_picture_is_trained_as_it_is(resolution: int, width: int, height: int) -> None:
    framing = frame(photo(width, height), buckets(resolution))
    prepared = Picture(Path("a.png"), "ab" * 32, framing.width, framing.height)
    (crop,) = crops_for(prepared, resolution, 0, seed=0)
    assert crop.box == (0, 0, framing.width, framing.height)
    assert (crop.width, crop.height) == (framing.width, framing.height)
    assert trained_whole(framing.width, framing.height, resolution)


def test_its_pixels_reach_the_trainer_unchanged() -> None:
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 420, 3), dtype=np.uint8))
    small = resample(noise, frame(photo(420, 300), buckets(64)))
    (crop,) = crops_for(Picture(Path("a.png"), "ab" * 32, *small.size), 64, 0, seed=0)
    tensor = pixels(small, crop)
    assert np.array_equal(np.rint((tensor.permute(1, 2, 0).numpy() + 1) * 127.5), np.asarray(small))


@pytest.mark.parametrize("resolution", [64, 256, 512, 1024])
@pytest.mark.parametrize("step", [8, 32, 64, 128])
def test_steps_of_buckets(resolution: int, step: int) -> None:
    if resolution < 2 * step:
        with pytest.raises(UserError, match="multiple"):
            buckets(resolution, step)
        return
    sizes = buckets(resolution, step)
    assert (resolution, resolution) in sizes
    assert all(side % step == 0 for size in sizes for side in size)
    assert all(width * height <= resolution**2 for width, height in sizes)
    assert all(assign(*size, sizes) == size for size in sizes)


def test_so_many_buckets() -> None:
    assert buckets(512, count=1) == buckets(512, count=2) == [(512, 512)]
    assert buckets(512, count=3) == [(448, 576), (512, 512), (576, 448)]
    assert set(buckets(512, count=9)) < set(SIZES)
    assert buckets(512, count=1000) == SIZES
    for few in range(1, 9):
        assert all(trained_whole(*size, 512) for size in buckets(512, count=few))
    with pytest.raises(UserError, match="at least 1"):
        buckets(512, count=0)
    with pytest.raises(UserError, match="take 16"):
        buckets(512, step=12)
    assert not trained_whole(600, 400, 512)
