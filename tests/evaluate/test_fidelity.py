"""Answers that pictures give to prompts, on pictures whose answers are known."""

import pytest
import torch
from PIL import Image, ImageDraw

from limner.evaluate.fidelity import (
    Known,
    background_colour,
    fidelity,
    questions,
    size_of_subject,
)
from limner.vision.colours import COLOURS


def scene(colour: str, reach: float = 0.7, side: int = 128) -> Image.Image:
    """A brown square that covers so much of a side, in the middle of a background."""
    image = Image.new("RGB", (side, side), COLOURS[colour])
    half = reach * side / 2
    ends = (side / 2 - half, side / 2 - half, side / 2 + half - 1, side / 2 + half - 1)
    ImageDraw.Draw(image).rectangle(ends, COLOURS["brown" if colour != "brown" else "white"])
    return image


@pytest.mark.parametrize("colour", COLOURS)
@pytest.mark.parametrize("side", [64, 128, 200])
def test_the_background_is_named_by_its_border(colour: str, side: int) -> None:
    assert background_colour(scene(colour, side=side)) == colour


@pytest.mark.parametrize(("reach", "size"), [(0.4, "small"), (0.55, "small"), (0.72, "large"), (0.9, "large")])
def test_a_subject_is_as_large_as_it_reaches_whatever_specks_there_are(reach: float, size: str) -> None:
    image = scene("white", reach)
    image.putpixel((3, 3), (0, 0, 0))
    assert size_of_subject(image) == size


def test_an_empty_picture_has_no_subject() -> None:
    assert size_of_subject(Image.new("RGB", (64, 64), "white")) == "none"


def test_questions_of_an_object_and_of_a_style() -> None:
    first = questions("zqvx", "dog", False)[1]
    assert (first.prompt, first.base_prompt) == ("a zqvx dog on a red background", "a dog on a red background")
    assert first.answers == {"colour": "red"}
    styled = questions("zqvx", "style", True)
    assert styled[0].prompt == "a car, zqvx style, on a white background"
    assert styled[0].base_prompt == "a car, on a white background"
    assert styled[0].answers == {"colour": "white", "object": "a car"}
    assert styled[-1].answers == {"colour": "green", "size": "small"}


def test_fidelity_counts_right_answers_beside_the_bases() -> None:
    asked = questions("zqvx", "dog", False)
    right = [[scene(each.answers["colour"], 0.4 if "size" in each.answers else 0.8)] * 2 for each in asked]
    features = [torch.zeros(2, 4)] * len(asked)
    whole = fidelity(asked, right, right, None, (features, features))
    assert (whole.share, whole.base_share, whole.kept) == (1, 1, 1)
    white = [[scene("white", 0.8)] * 2] * len(asked)
    poor = fidelity(asked, white, right, None, (features, features))
    assert poor.by_answer == {"colour": [0.25, 1], "size": [0, 1]}
    assert poor.kept == pytest.approx(2 / 10)
    assert poor.over_seeds is not None
    assert poor.over_seeds.deviation == pytest.approx(0)
    unable = fidelity(asked[1:3], right[1:3], white[1:3], None, (features[1:3], features[1:3]))
    assert unable.kept is None


def test_an_object_is_the_one_whose_drawings_are_nearest() -> None:
    cats, cars = torch.tensor([[1.0, 0.1], [1.0, 0.2]]), torch.tensor([[0.0, 1.0], [0.3, 1.0]])
    known = Known({"a cat": cats, "a car": cars})
    assert known.name(torch.tensor([0.9, 0.3])) == "a cat"
    assert known.name(torch.tensor([0.2, 0.9])) == "a car"
