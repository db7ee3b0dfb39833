"""Any text file that an editor writes is read, or named; any name is shown as one line."""

import os

import pytest

from limner.errors import UserError
from limner.inventory import Inventory
from limner.texts import UnknownEncoding, decode_text, display, read_text

SENTENCES = (
    "a photo of zqvx dog, on grass\n",
    "a",
    "Ein Mädchen im Café, naïve Kunst € groß\n",
    "犬の写真、\n青い空\n",
    "чёрный кот на диване\n",
    "[images]\nkeyword = 'zqvx'\n",
    "🦊 on a hill\nsecond",
)


@pytest.mark.parametrize("text", SENTENCES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize("mark", [False, True])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\u2028"])
def test_unicode_is_read_with_and_without_a_mark(text: str, encoding: str, mark: bool, end: str) -> None:
    data = (("\ufeff" if mark and encoding != "utf-8-sig" else "") + text.replace("\n", end)).encode(encoding)
    if encoding.startswith("utf-16") and not mark and not any(each < "\x7f" for each in text):
        pytest.skip("no editor's file: nothing in it tells the byte order")
    assert decode_text(data) == text


def test_latin_1_is_read() -> None:
    assert decode_text("Mädchen im Café € groß\r\n".encode("cp1252")) == "Mädchen im Café € groß\n"
    assert decode_text(b"") == ""


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)),
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        "犬の写真、青い空".encode("shift-jis"),
        "чёрный кот на диване".encode("koi8-r"),
        b"\xff\xfea",
        b"cat\0dog",
    ],
)
def test_what_cannot_be_told_is_an_error_that_names_the_file(data: bytes, tmp_path) -> None:
    with pytest.raises(UnknownEncoding):
        decode_text(data)
    path = tmp_path / "cat.txt"
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"cat\.txt .*save it as UTF-8"):
        read_text(path)


def test_names_are_one_printable_line() -> None:
    assert display("cat\nTraceback.png") == "cat\\nTraceback.png"
    assert display(os.fsdecode(b"caf\xe9.png")) == "caf\\xe9.png"
    assert display("\x1b[31mred") == "\\x1b[31mred"
    assert len(display("x" * 300 + ".png")) == 120
    assert display("x" * 300 + ".png").endswith(".png")
    assert display("naïve 犬.png") == "naïve 犬.png"


def test_what_nobody_marked_is_said() -> None:
    inventory = Inventory(["up", "down", "lbw", "start", "stop", "note"])
    inventory.use("up", "down")
    inventory.leave("it is a comment", "note")
    assert inventory.used == ["up", "down"]
    assert inventory.remarks("a.safetensors", "key", "keys") == [
        "a.safetensors: 3 of 6 keys are not used (lbw, start, stop): Limner does not know what to do with them",
        "a.safetensors: 1 of 6 keys is not used (note): it is a comment",
    ]
    assert Inventory(["a"]).remarks("x", "key", "keys")[0].startswith("x: 1 of 1 key is not used (a)")
