"""Sheets of pictures: labelled rows on one page."""

import textwrap
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

TILE, GAP, MARGIN = 160, 14, 36  # pixels
LABEL_WIDTH = 190
PAPER, INK, FAINT, LINE = "#fbfaf7", "#1d2129", "#6b7280", "#d9d6cf"
TITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 28, 20, 15


@dataclass(frozen=True)
class Row:
    """Pictures side by side. note: a line below the label. captions: one for each picture, below it."""

    label: str
    note: str
    pictures: list[Image.Image]
    captions: list[str] = field(default_factory=list)


def draw_sheet(title: str, rows: list[Row], notes: list[str]) -> Image.Image:
    """A page with a title, a row of pictures for each Row, and notes at its foot; any sizes of pictures."""
    across = max(len(row.pictures) for row in rows)
    width = 2 * MARGIN + LABEL_WIDTH + across * (TILE + GAP) - GAP
    foot = [line for note in notes for line in textwrap.wrap(note, (width - 2 * MARGIN) // (SMALL_SIZE // 2 + 1))]
    height = MARGIN + TITLE_SIZE + MARGIN // 2 + sum(_height(row) for row in rows) + len(foot) * 22 + MARGIN
    page = Image.new("RGB", (width, height), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN, MARGIN - 8), title, fill=INK, font=_font(TITLE_SIZE))
    top = MARGIN + TITLE_SIZE + MARGIN // 2
    for row in rows:
        _draw_row(page, pen, row, top)
        top += _height(row)
    for line in foot:
        pen.text((MARGIN, top), line, fill=FAINT, font=_font(SMALL_SIZE))
        top += 22
    return page


def _draw_row(page: Image.Image, pen: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    pen.text((MARGIN, top + TILE // 2 - 24), row.label, fill=INK, font=_font(LABEL_SIZE))
    for index, line in enumerate(textwrap.wrap(row.note, LABEL_WIDTH // (SMALL_SIZE // 2))):
        pen.text((MARGIN, top + TILE // 2 + 6 + 20 * index), line, fill=FAINT, font=_font(SMALL_SIZE))
    for index, picture in enumerate(row.pictures):
        left = MARGIN + LABEL_WIDTH + index * (TILE + GAP)
        tile = _tile(picture)
        page.paste(tile, (left + (TILE - tile.width) // 2, top + (TILE - tile.height) // 2))
        pen.rectangle((left - 1, top - 1, left + TILE, top + TILE), outline=LINE)
        if index < len(row.captions):
            pen.text(
                (left + TILE // 2, top + TILE + 6), row.captions[index], fill=FAINT, font=_font(SMALL_SIZE), anchor="ma"
            )


def _tile(picture: Image.Image) -> Image.Image:
    scale = TILE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def _height(row: Row) -> int:
    return TILE + (SMALL_SIZE + 12 if row.captions else 0) + GAP


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
