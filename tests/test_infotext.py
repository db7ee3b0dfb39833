"""The `parameters` text: written as the webui writes it, read from anything."""

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from limner.errors import UserError
from limner.infotext import Infotext, format_infotext, parse_infotext, read_picture, save_png

SETTINGS = {"Steps": 20, "Sampler": "DPM++ 2M", "CFG scale": "7", "Seed": 5, "Size": "64x64"}
STRINGS = {name: str(value) for name, value in SETTINGS.items()}


def test_the_text_has_the_webuis_form() -> None:
    text = format_infotext(
        "a cat\non a mat", "blurry", SETTINGS | {"Clip skip": None, "Lora hashes": "x: 12ab, y: 34cd"}
    )
    assert text == (
        "a cat\non a mat\nNegative prompt: blurry\n"
        'Steps: 20, Sampler: DPM++ 2M, CFG scale: 7, Seed: 5, Size: 64x64, Lora hashes: "x: 12ab, y: 34cd"'
    )
    assert format_infotext("a cat", "", SETTINGS).startswith("a cat\nSteps: 20")


def test_what_was_written_is_read_back() -> None:
    settings = STRINGS | {"Lora hashes": "x: 12ab", "Model": 'odd "name", with: all\nof it'}
    text = format_infotext("a (cat:1.2), [x|y]\n<lora:x:1>", "bad, worse\nworst", settings)
    assert parse_infotext(text) == Infotext("a (cat:1.2), [x|y]\n<lora:x:1>", "bad, worse\nworst", settings)


def test_a_text_of_the_webui_is_read() -> None:
    text = (
        "masterpiece, <lora:art:0.8>\nNegative prompt: lowres\nSteps: 30, Sampler: Euler a, "
        "Schedule type: Automatic, CFG scale: 6.5, Seed: 1, Size: 512x768, Model hash: 6ce0161689, Model: v1-5, "
        'Lora hashes: "art: 0123456789ab", Version: v1.10.1'
    )
    found = parse_infotext(text)
    assert (found.prompt, found.negative_prompt) == ("masterpiece, <lora:art:0.8>", "lowres")
    assert found.settings["Lora hashes"] == "art: 0123456789ab"
    assert found.settings["Size"] == "512x768"


@pytest.mark.parametrize(
    ("text", "prompt", "negative"),
    [
        ("a cat\nNegative prompt:\nlowres\nbad", "a cat", "lowres\nbad"),
        ("a cat\nNegative prompt: \n\n lowres\n\nbad", "a cat", "lowres\n\nbad"),
        ("a cat\r\nNegative prompt:\r\nlowres", "a cat", "lowres"),
        ("a\n\ncat\nNegative prompt: x\nNegative prompt: y", "a\n\ncat", "x\ny"),
        ("\n\nNegative prompt: x", "", "x"),
        ("a cat\nNegative prompt:", "a cat", ""),
    ],
)
@pytest.mark.parametrize("settings", ["", "\nSteps: 20, Sampler: Euler, Seed: 1"])
def test_lines_are_joined_as_the_webui_joins_them(text: str, prompt: str, negative: str, settings: str) -> None:
    found = parse_infotext(text + settings)
    assert (found.prompt, found.negative_prompt) == (prompt, negative)


def test_a_last_line_of_fewer_than_three_settings_belongs_to_the_prompt() -> None:
    assert parse_infotext("a cat\nmood: sad, time: late") == Infotext("a cat\nmood: sad, time: late")
    assert parse_infotext("") == Infotext("")


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    parse_infotext(text)


def test_a_hostile_text_is_read_quickly() -> None:
    started = time.monotonic()
    parse_infotext("a" * 300_000)
    parse_infotext('a: "' + "\\" * 100_000)
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("prompt", ["a cat", "喵 — ein Kätzchen"])
def test_a_png_carries_the_text(tmp_path: Path, prompt: str) -> None:
    text = format_infotext(prompt, "", SETTINGS)
    path = tmp_path / "deep" / "picture.png"
    save_png(Image.new("RGB", (8, 8), "red"), text, path)
    with Image.open(path) as image:
        assert image.info["parameters"] == text
        assert image.getpixel((0, 0)) == (255, 0, 0)
    assert read_picture(path) == Infotext(prompt, "", STRINGS)
    assert [each.name for each in path.parent.iterdir()] == ["picture.png"]


def test_pictures_without_text_and_files_that_are_none(tmp_path: Path) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "bare.png")
    assert read_picture(tmp_path / "bare.png") is None
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(UserError, match=r"text\.png"):
        read_picture(tmp_path / "text.png")
