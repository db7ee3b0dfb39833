"""What pixels say, beside what the pictures of recipes/subjects were drawn from."""

import re
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from limner.captions.captioner import Model
from limner.captions.pixels import Pixels, say, where
from limner.checking.facts import Facts
from limner.checking.measure import Measure
from limner.config import Settings
from limner.data.colour import to_srgb
from limner.data.decode import decode
from limner.data.source import find_sources
from limner.vision.region import Region

SUBJECTS = Path(__file__).parents[2] / "recipes" / "subjects"
SAYS = Pixels(Settings(), Model())
SIDES = r"on the left|on the right|at the top|at the bottom"


@pytest.mark.parametrize("subject", ["cactus", "helicopter"])
def test_what_is_said_is_true(subject: str) -> None:
    found = 0
    for source in find_sources(SUBJECTS / subject / "train"):
        drawn = source.path.with_suffix(".txt").read_text()
        tags = SAYS.describe(to_srgb(decode(source.read())), Measure(features=False)(source).facts)
        background = re.search(r"on an? (\w+ background)", drawn)
        sides = re.findall(SIDES, drawn)
        assert background[1] in tags
        assert [tag for tag in tags if re.fullmatch(SIDES, tag)] == sides
        assert "wide shot" not in tags or "small" in drawn
        found += "wide shot" in tags
    assert found > 3


def test_faces_say_how_near_they_are() -> None:
    near, middle, far = Region(0.2, 0.2, 0.8, 0.8), Region(0.4, 0.4, 0.6, 0.6), Region(0.5, 0.5, 0.58, 0.58)
    assert say((near, far), far, "red") == ["close-up", "red background"]
    assert say((middle,), near, "") == []
    assert say((), far, "red") == ["wide shot", "red background"]
    assert say((), far, "") == say((), None, "") == []


def test_a_crop_is_looked_at_by_itself() -> None:
    whole = Image.new("RGB", (200, 100), "red")
    ImageDraw.Draw(whole).ellipse((20, 40, 50, 70), fill="white")
    facts = Facts("a.png", width=200, height=100, salient=Region(0.1, 0.4, 0.25, 0.7), colour="red")
    assert SAYS.describe(whole, facts) == ["wide shot", "on the left", "red background"]
    assert SAYS.describe(whole.crop((10, 30, 60, 80)).resize((140, 140)), facts) == ["red background"]
    assert SAYS.describe(Image.new("RGB", (64, 64), "blue"), facts) == ["blue background"]


def test_where_something_small_is() -> None:
    assert where(Region(0.0, 0.4, 0.2, 0.6)) == ["on the left"]
    assert where(Region(0.8, 0.4, 1.0, 0.6)) == ["on the right"]
    assert where(Region(0.4, 0.0, 0.6, 0.2)) == ["at the top"]
    assert where(Region(0.4, 0.8, 0.6, 1.0)) == ["at the bottom"]
    assert where(Region(0.0, 0.0, 0.2, 0.2)) == where(Region(0.3, 0.3, 0.7, 0.7)) == []
