"""A sheet shows every picture once, in its place."""

from PIL import Image

from limner.evaluate.sheet import GAP, Row, sheet

RED, GREEN, BLUE = (Image.new("RGB", (40, 40), colour) for colour in ("red", "green", "blue"))


def count(image: Image.Image, colour: tuple[int, int, int]) -> int:
    return sum(number for number, found in image.getcolors(1 << 20) or [] if found == colour)


def test_every_picture_is_in_it_at_its_size() -> None:
    page = sheet([Row("before", [RED, GREEN]), Row("after", [BLUE], ["a blue one"])], tile=32)
    assert page.width == 2 * 32 + 3 * GAP
    assert [count(page, c) for c in ((255, 0, 0), (0, 128, 0), (0, 0, 255))] == [32 * 32] * 3


def test_long_rows_go_on_in_the_next_line_and_odd_shapes_are_fitted() -> None:
    wide = Image.new("RGB", (80, 20), "red")
    page = sheet([Row("", [wide] * 5)], tile=40, columns=2)
    assert page.size == (2 * 40 + 3 * GAP, 3 * (40 + GAP) + GAP)
    assert count(page, (255, 0, 0)) == 5 * 40 * 10
