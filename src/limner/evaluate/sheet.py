"""A sheet of pictures: rows of equal tiles, each row under its title, each tile over its caption."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image, ImageDraw, ImageFont

GAP = 6  # pixels between tiles
TITLE_SIZE, CAPTION_SIZE = 15, 10  # pixels of the letters' height
INK, FAINT, PAPER = (30, 30, 34), (110, 110, 118), (255, 255, 255)
CAPTION_LINES = 2


@dataclass(frozen=True)
class Row:
    """Pictures side by side; `captions` one a picture, or none."""

    title: str
    images: Sequence[Image.Image]
    captions: Sequence[str] = ()


def sheet(rows: Sequence[Row], tile: int = 128, columns: int | None = None) -> Image.Image:
    """One picture of all rows, each fitted into a tile; a row longer than `columns` goes on in the next line."""
    across = columns or max(len(row.images) for row in rows)
    lines = [line for row in rows for line in _lines(row, across)]
    heights = [_height(row, tile) for row in lines]
    canvas = Image.new("RGB", (across * (tile + GAP) + GAP, sum(heights) + GAP), PAPER)
    top = GAP
    for row, height in zip(lines, heights, strict=True):
        _paint(canvas, row, top, tile)
        top += height
    return canvas


def _lines(row: Row, across: int) -> list[Row]:
    """A row cut to the sheet's width; only the first piece carries the title."""
    starts = range(0, len(row.images), across)
    return [
        Row(row.title if at == 0 else "", row.images[at : at + across], row.captions[at : at + across]) for at in starts
    ]


def _height(row: Row, tile: int) -> int:
    title = TITLE_SIZE + GAP if row.title else 0
    captions = CAPTION_LINES * (CAPTION_SIZE + 2) + 2 if any(row.captions) else 0
    return title + tile + captions + GAP


def _paint(canvas: Image.Image, row: Row, top: int, tile: int) -> None:
    pen = ImageDraw.Draw(canvas)
    if row.title:
        pen.text((GAP, top), row.title, INK, ImageFont.load_default(TITLE_SIZE))
        top += TITLE_SIZE + GAP
    small = ImageFont.load_default(CAPTION_SIZE)
    for column, image in enumerate(row.images):
        left = GAP + column * (tile + GAP)
        fitted = image.convert("RGB")
        fitted.thumbnail((tile, tile), Image.Resampling.LANCZOS)
        canvas.paste(fitted, (left + (tile - fitted.width) // 2, top + (tile - fitted.height) // 2))
        if column < len(row.captions):
            wrapped = textwrap.wrap(row.captions[column], width=tile // 5)[:CAPTION_LINES]
            pen.multiline_text((left, top + tile + 2), "\n".join(wrapped), FAINT, small, spacing=2)
