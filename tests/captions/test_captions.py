"""The caption of a picture, whatever says it."""

import pickle
import re
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from limner.captions.caption import Captions
from limner.captions.edits import Edits
from limner.captions.own import OwnCaptions
from limner.captions.tags import prune
from limner.checking.facts import Facts
from limner.config.captions import Captioning
from limner.data.caption import says
from limner.data.source import find_sources
from limner.data.templates import LISTS, choose, kind_of
from limner.errors import UserError
from limner.vision.region import Region

IMAGE = Image.new("RGB", (64, 64), "teal")
CLOSE = Facts("a.png", "a" * 64, width=64, height=64, faces=(Region(0.2, 0.2, 0.8, 0.8),), colour="teal")


def captions(**values) -> Captions:
    return Captions(Captioning.read({"keyword": "zvq", "class": "dog"} | values, "the test"))


@pytest.mark.parametrize(
    ("values", "own", "text", "source"),
    [
        ({}, None, "zvq dog", "template"),
        ({}, "", "zvq dog", "template"),
        ({"template": "a photo of a {keyword} {class}"}, None, "a photo of a zvq dog", "template"),
        ({"template": "a photo of a {class}"}, None, "zvq, a photo of a dog", "template"),
        ({"template": "a {class}", "keyword_place": "class"}, None, "a zvq dog", "template"),
        ({}, "a dog\non grass", "zvq, a dog on grass", "own"),
        ({}, "a fox in ZVQ style", "a fox in ZVQ style", "own"),
        ({"keyword_place": "class"}, "a dog on grass", "a zvq dog on grass", "own"),
        ({"keyword_place": "class"}, "a pet on grass", "zvq, a pet on grass", "own"),
        ({"keyword_place": "back"}, "a dog on grass", "a dog on grass, zvq", "own"),
        ({"prune": "Brown fur, zvq"}, "zvq, brown fur, grass", "zvq, grass", "own"),
        ({"own_captions": "replace"}, "a dog", "zvq dog", "template"),
        ({"captioner": "pixels"}, None, "zvq dog, close-up, teal background", "pixels"),
        ({"captioner": "pixels", "keyword_place": "back"}, None, "close-up, teal background, zvq dog", "pixels"),
        ({"captioner": "pixels", "prune": "Teal background"}, None, "zvq dog, close-up", "pixels"),
        ({"captioner": "pixels"}, "on grass", "zvq, on grass", "own"),
        ({"captioner": "pixels", "own_captions": "extend"}, "Close-up", "zvq, Close-up, teal background", "own"),
        ({"keyword": ""}, None, "dog", "template"),
        ({"keyword": ""}, "a dog", "a dog", "own"),
        ({"class": ""}, None, "zvq", "template"),
    ],
)
def test_a_picture_is_called(values: dict, own: str | None, text: str, source: str) -> None:
    made = captions(**values).caption(IMAGE, CLOSE, own)
    assert (made.text, made.source) == (text, source)


def test_templates_say_of_a_picture_what_is_known_of_it() -> None:
    known = captions(template="auto", captioner="pixels").caption(IMAGE, CLOSE, None).text
    assert known in (
        "a close-up photo of a zvq dog, teal background",
        "a close-up photo of the zvq dog, teal background",
    )
    texts = {choose("object", f"{number:064x}", "zvq") for number in range(200)}
    assert texts == {each.text for each in LISTS["object"] if not each.claims}
    assert {choose("style", f"{number:064x}", "", "style") for number in range(20)} == {"{class}"}
    assert choose("a {keyword}, outdoors", "0", "zvq") == "a {keyword}, outdoors"
    assert all(re.search(r"\{keyword\}", each.text) for texts in LISTS.values() for each in texts)


@pytest.mark.parametrize(
    ("word", "kind"),
    [("dog", "animal"), ("old man", "person"), ("watercolour style", "style"), ("Guinea pig", "animal"),
     ("mug", "object"), ("", "object"), ("dog house", "object")],
)  # fmt: skip
def test_the_kind_of_a_class(word: str, kind: str) -> None:
    assert kind_of(word) == kind


def test_the_keyword_is_never_pruned() -> None:
    assert prune("zvq dog, red, zvq", ["zvq dog", "ZVQ", "red"], "zvq") == "zvq dog, zvq"
    assert prune("a,b , c", ["d"], "") == "a,b , c"


def test_captions_that_ask_no_network_go_to_workers() -> None:
    made = captions(captioner="pixels", template="animal")
    assert made.in_workers
    again = pickle.loads(pickle.dumps(made))
    assert again.caption(IMAGE, CLOSE, None) == made.caption(IMAGE, CLOSE, None)
    assert made.needs_pixels(None)
    assert not made.needs_pixels("a dog")
    assert not captions().needs_pixels(None)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"template": "objekt"}, "object, person"),
        ({"template": "{klass}"}, "klass"),
        ({"captioner": "pixel"}, "'pixels'"),
        ({"caption_model": "models/tagger"}, "--captioner"),
        ({"captioner": "pixels", "captioner_set": ("threshold",)}, "name=value"),
        ({"captioner": "pixels", "captioner_set": ("threshold=1",)}, "threshold"),
    ],
)
def test_settings_that_will_not_do(values: dict, says: str) -> None:
    with pytest.raises(UserError, match=re.escape(says)):
        captions(**values)


@pytest.mark.parametrize("zipped", [False, True])
def test_what_a_person_wrote_is_found_in_folders_and_zips(tmp_path: Path, zipped: bool) -> None:
    files = {
        "a.jpg": "", "a.txt": "a fox\n", "b.jpg": "", "b.caption": "a dog", "in/c.jpg": "", "in/d.jpg": "",
        "in/e.jpg": "", "in/e.txt": " \n",
        "metadata.jsonl": '{"file_name": "a.jpg", "text": "x"}\n{"file_name": "in/c.jpg", "text": "a cat"}',
        "in/metadata.jsonl": '{"file_name": "d.jpg", "text": "a bird"}\n{"file_name": "e.jpg", "text": "an owl"}',
    }  # fmt: skip
    root = tmp_path / "photos"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    if zipped:
        with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
            for name in files:
                archive.write(root / name, name)
        root = tmp_path / "photos.zip"
    own = OwnCaptions()
    assert {source.name: own.of(source) for source in find_sources(root)} == {
        "a.jpg": "a fox", "b.jpg": "a dog", "in/c.jpg": "a cat", "in/d.jpg": "a bird", "in/e.jpg": "an owl",
    }  # fmt: skip


WORDS = st.sampled_from(["zvq", "ZVQ", "dog", "brown fur", "zvq dog", "a dog", "zvqs", ",", " ", "(", "\\"])
TEXTS = st.lists(WORDS, max_size=6).map(", ".join)


@given(
    own=st.none() | TEXTS,
    pruned=TEXTS,
    removed=st.lists(WORDS, max_size=3),
    replaced=st.lists(st.tuples(WORDS.filter(str.strip), WORDS), max_size=2),
    where=st.sampled_from([None, "front", "back", "class"]),
    captioner=st.sampled_from([None, "pixels"]),
    kept=st.sampled_from(["keep", "extend", "replace"]),
    template=st.sampled_from(["auto", "object", "person", "animal", "style", "a {class}", "{keyword} {class}"]),
)
@settings(max_examples=200, deadline=None)
def test_the_keyword_is_never_lost(own, pruned, removed, replaced, where, captioner, kept, template) -> None:
    said = captions(prune=pruned, keyword_place=where, captioner=captioner, own_captions=kept, template=template)
    text = said.caption(IMAGE, CLOSE, own).text
    assert says(text, "zvq"), text
    edited = Edits(tuple(replaced), tuple(removed)).apply(text, "zvq")
    assert says(edited, "zvq"), (text, edited)
