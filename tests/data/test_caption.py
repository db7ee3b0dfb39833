import random
from pathlib import Path

import pytest

from limner.data.caption import Tags, caption_for
from limner.data.folder import Picture
from limner.errors import UserError


def picture(caption: str | None) -> Picture:
    return Picture(Path("a.png"), "0" * 64, 64, 64, caption)


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ("a fox, zvq style", "a fox, zvq style"),
        ("a fox in ZVQ style", "a fox in ZVQ style"),
        ("a fox", "zvq, a fox"),
        ("a zvqs fox", "zvq, a zvqs fox"),
        (None, "zvq dog"),
    ],
)
def test_own_caption_or_template(own: str | None, expected: str) -> None:
    assert caption_for(picture(own), "zvq", "dog") == expected


def test_templates() -> None:
    assert caption_for(picture(None), "zvq", "dog", "a photo of {keyword} {class}") == "a photo of zvq dog"
    assert caption_for(picture(None), "zvq", "", "a photo of {keyword} {class}, outdoors") == (
        "a photo of zvq , outdoors"
    )
    assert caption_for(picture(None), "", "dog", "a photo of a {class}") == "a photo of a dog"
    assert caption_for(picture(None), "zvq", "dog", "a photo of a {class}") == "zvq, a photo of a dog"
    assert caption_for(picture(None), "{class}", "dog", "{keyword} {class}") == "{class} dog"
    with pytest.raises(UserError, match=r"unknown \{klass\}"):
        caption_for(picture(None), "zvq", "dog", "{keyword} {klass}")
    with pytest.raises(UserError, match=r"unknown \{class.__init__\}"):
        caption_for(picture(None), "zvq", "dog", "{keyword} {class.__init__}")


def test_tags_change_their_order_but_not_the_first() -> None:
    tags, text = Tags(shuffle=True, keep=2), "zvq dog, photo, a, b, c, d, e, f"
    told = {tags.apply(text, random.Random(step)) for step in range(20)}
    assert len(told) > 10
    for each in told:
        assert each.startswith("zvq dog, photo, ")
        assert sorted(each.split(", ")) == sorted(text.split(", "))
    assert Tags(keep=1).apply("a , b,, c,", random.Random(0)) == "a, b, c"


def test_tags_are_left_out_but_never_the_keyword() -> None:
    tags = Tags(dropout=0.5, keep=1).about("ZVQ")
    told = [tags.apply("photo, sitting, a zvq dog, zvqs, outside", random.Random(step)) for step in range(200)]
    counts = {tag: sum(tag in each.split(", ") for each in told) for tag in ("photo", "a zvq dog", "zvqs", "outside")}
    assert counts["photo"] == counts["a zvq dog"] == 200
    assert 70 < counts["outside"] < 130
    assert 70 < counts["zvqs"] < 130
    assert all(each.index("photo") < each.index("a zvq dog") for each in told)


def test_captions_that_do_not_vary_say_so() -> None:
    assert not Tags(keep=3).vary
    assert Tags(shuffle=True).vary
    assert Tags(dropout=0.1).vary
