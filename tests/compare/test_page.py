"""The page holds everything in itself: figures, pictures, failures and advice, whatever the words in it are."""

import pytest
from judged import Parsed, entry
from PIL import Image

from limner.compare.entry import Entry
from limner.compare.page import SIDE, Shown, page


def drawings(colour: str) -> list[list[Image.Image]]:
    """Two prompts, a picture each."""
    return [[Image.new("RGB", (64, 64), colour)], [Image.new("RGB", (1024, 768), colour)]]


SHOWN = Shown(
    title="zqvx <dog>: 2 methods compared",
    about=["Each learned & was judged."],
    training=[Image.new("RGB", (100, 80), "green")] * 3,
    prompts=["a <script>alert(1)</script> dog", "a dog"],
    columns={"base": drawings("gray"), "lora": drawings("red"), "dreambooth": drawings("blue")},
)
ENTRIES = [entry("lora", 0.8), entry("dreambooth", 0.9, size=80_000_000), Entry("embedding", failure="no <room>")]


def test_rows_are_prompts_and_columns_methods_the_base_first() -> None:
    found = Parsed(page(SHOWN, ENTRIES, ["one", "Take LoRA."]))
    assert not found.outside
    assert max(max(image.size) for image in found.images) == SIDE
    assert len(found.images) == 3 + 2 * 3
    colours = [image.resize((1, 1)).getpixel((0, 0)) for image in found.images[3:6]]
    for colour, expected in zip(colours, [(128, 128, 128), (255, 0, 0), (0, 0, 255)], strict=True):
        assert colour == pytest.approx(expected, abs=4)
    assert "a <script>alert(1)</script> dog" in found.texts
    assert any("no <room>" in text for text in found.texts)
    assert found.texts[-1] == "Take LoRA."
    for text in ("0.80", "0.90", "80 MB", "1 MB", "1 min 0 s", "100"):
        assert text in found.texts


def test_the_best_is_marked_and_what_is_unknown_is_a_dash() -> None:
    text = page(SHOWN, ENTRIES, [])
    assert text.count("class=best") == 1
    assert "<td class=best>0.90" in text
    assert "&ndash;" in text  # no drift of the class was measured


def test_a_page_without_any_figures_says_so() -> None:
    bare = Shown("t", [], [], [], {})
    found = Parsed(page(bare, [Entry("lora", failure="it ended")], ["Nothing can be said."]))
    assert "No method has figures." in found.texts
    assert found.texts[-1] == "Nothing can be said."
