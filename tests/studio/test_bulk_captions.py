"""Captions changed together on the page: what is added does not become the whole caption."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from limner.errors import UserError
from limner.studio.api.datasets import CaptionEdits, change_captions
from limner.studio.sets import PictureSet


@pytest.mark.parametrize(
    ("wishes", "after"),
    [
        ({"class": "dog"}, "dog, cinematic"),
        ({"keyword": "zqvx", "class": "dog"}, "zqvx dog, cinematic"),
        ({"keyword": "zqvx"}, "zqvx, cinematic"),
    ],
)
def test_add_keeps_keyword_and_class(tmp_path: Path, wishes: dict[str, str], after: str) -> None:
    pictures = PictureSet(tmp_path)
    pictures.originals.mkdir()
    for name in ("a.png", "b.png"):
        Image.new("RGB", (20, 20)).save(pictures.originals / name)
    # as a check found it before anybody said what the images show
    known: dict[str, Any] = {"mark": "fine", "kept": True}
    found = [known | {"name": "a.png", "caption": "", "caption_from": "template"}]
    found += [known | {"name": "b.png", "caption": "my words", "caption_from": "own"}]
    pictures.keep_checked({"pictures": found})
    jobs, places = SimpleNamespace(dataset=lambda _: {}), SimpleNamespace(dataset=lambda _: tmp_path)
    studio: Any = SimpleNamespace(jobs=jobs, places=places)
    with pytest.raises(UserError, match="say the keyword or the class first"):
        change_captions(1, CaptionEdits(add="cinematic", write=True), studio)
    pictures.keep_wishes(wishes)
    changes = change_captions(1, CaptionEdits(add="cinematic", write=True), studio)["changes"]
    assert {each["name"]: each["after"] for each in changes} == {"a.png": after, "b.png": "my words, cinematic"}
    assert pictures.choices()["a.png"].caption == after
