"""Marks of other trainers in captions, keywords in texts around them, encodings: trained on as meant, or said."""

import json
from pathlib import Path

import pytest
from PIL import Image

from limner.captions.own import OwnCaptions
from limner.data.caption import caption_for
from limner.data.folder import Picture, load_folder
from limner.data.source import find_sources


@pytest.mark.parametrize(
    ("own", "prefix", "suffix", "caption"),
    [
        ("sitting on grass", "zqvx dog, ", "", "zqvx dog, sitting on grass"),
        ("sitting on grass", "photo,", ", sharp", "photo, zqvx, sitting on grass, sharp"),
        ("sitting", "", ", in ZQVX style", "sitting, in ZQVX style"),
        ("zqvx dog, sitting", "photo,", "", "photo, zqvx dog, sitting"),
        (None, "zqvx dog, ", "", "zqvx dog"),
        (None, "zqvx, ", ", sharp", "zqvx, dog, sharp"),
        (None, "photo,", "", "photo, zqvx dog"),
        ("[trigger] dog", "", "", "zqvx dog"),
        ("a [Name] and [ trigger ]", "", "", "a zqvx and zqvx"),
        ("sitting", "[trigger], ", "", "zqvx, sitting"),
        ("{keyword} dog", "", "", "zqvx dog"),
        ("zqvx, dog ||| in snow ||| sharp", "", "", "zqvx, dog, in snow, sharp"),
        ("zqvx, a;;;b, |||", "", "", "zqvx, a, b"),
        ("zqvx {red|{blue|green}} {2::big|small} dog", "", "", "zqvx red big dog"),
        ("zqvx dog, <lora:other:0.8>, sitting", "", "", "zqvx dog, sitting"),
        ("zqvx (dog:1.2) [cat]", "", "", "zqvx (dog:1.2) [cat]"),
    ],
)  # fmt: skip
def test_a_caption_as_it_is_trained_on(own: str | None, prefix: str, suffix: str, caption: str) -> None:
    picture = Picture(Path("a.png"), "0" * 64, 64, 64, own)
    assert caption_for(picture, "zqvx", "dog", "{keyword} {class}", prefix, suffix) == caption


def test_class_captions_say_the_class_for_the_keyword() -> None:
    assert caption_for(Picture(Path("a.png"), "", 64, 64, "a [trigger], asleep"), "", "dog") == "a dog, asleep"


TEXTS = {
    "a": "a [trigger] dog",
    "b": "one\r\ntwo\r\n",
    "c": "x ||| y",
    "d": "{a|b} dog",
    "e": "__animals__ at night",
    "f": "a dog\n",
}


def test_marks_are_said(tmp_path: Path) -> None:
    for number, (name, text) in enumerate(TEXTS.items()):
        Image.new("RGB", (20, 20), (number, 90, 200)).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_bytes(text.encode("utf-16"))
    own = OwnCaptions()
    for source in find_sources(tmp_path):
        own.of(source)
    said = load_folder(tmp_path).remarks
    assert [each.replace(".png", "") for each in own.marks.remarks()] == [each.replace(".png", "") for each in said]
    assert len(said) == 5
    for sentence, name in zip(said, "abcde", strict=True):
        assert f"({name}.png)" in sentence
    assert "several lines (b.png): they are read as one text" in said[1]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-le", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_tables_in_any_encoding(tmp_path: Path, encoding: str, end: str) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("a.png", "sub/É.PNG", "c.png", "d.png"):
        Image.new("RGB", (20, 20), (len(name), 90, 200)).save(tmp_path / name)
    rows = [
        {
            "file_name": "A.png",
            "text": "ein Füchslein\u2028im Schnee" if "utf" in encoding else "ein Füchslein im Schnee",
        },
        {"file_name": ".\\sub\\é.png", "text": "a cat"},
        {"file_name": "c.png", "tags": "x"},
        {"file_name": "a.png", "text": "another"},
        {"file_name": "gone.png", "text": "y", "score": 3},
    ]
    text = end.join(json.dumps(row, ensure_ascii=False) for row in rows)
    (tmp_path / "METADATA.JSONL").write_bytes(text.encode(encoding))
    loaded = load_folder(tmp_path)
    captions = {picture.path.name: picture.caption for picture in loaded.pictures}
    assert captions == {"a.png": "ein Füchslein im Schnee", "c.png": None, "d.png": None}
    own = OwnCaptions()
    assert {each.name: own.of(each) for each in find_sources(tmp_path)}["sub/É.PNG"] == "a cat"
    said = "\n".join(loaded.remarks)
    assert "gone.png): no image has that name" in said
    assert "(row 3, c.png): it has no text, prompt or caption" in said
    assert "(row 4, a.png): an earlier row is about the same image" in said
    assert "2 of 4 columns are not used (tags, score)" in said


def test_a_file_and_a_table_that_say_different_things(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (20, 20), (len(name), 90, 200)).save(tmp_path / f"{name}.png")
        (tmp_path / f"{name}.txt").write_text("a dog\n")
    rows = [{"file_name": "a.png", "text": "a dog"}, {"file_name": "b.png", "text": "a cat"}]
    (tmp_path / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (said,) = load_folder(tmp_path).remarks
    assert said.startswith("1 image has one caption in a file and another in metadata.jsonl (b.png)")
