"""Sheets of pictures: labelled rows on one page."""

import base64
import io
import textwrap
from dataclasses import dataclass, field

from PIL import Image, ImageDraw, ImageFont

TILE, GAP, MARGIN = 160, 14, 36  # pixels
LABEL_WIDTH = 190
PAPER, INK, FAINT, LINE = "#fbfaf7", "#1d2129", "#6b7280", "#d9d6cf"
TITLE_SIZE, LABEL_SIZE, SMALL_SIZE = 28, 20, 15
GRID_LABEL = 110  # pixels; of a grid's row labels, and at least of a column
LINE_HEIGHT = 20  # pixels
MOST_LINES = 4  # of a label


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
    pen.text((MARGIN, MARGIN - 8), title, fill=INK, font=font(TITLE_SIZE))
    top = MARGIN + TITLE_SIZE + MARGIN // 2
    for row in rows:
        _draw_row(page, pen, row, top)
        top += _height(row)
    for line in foot:
        pen.text((MARGIN, top), line, fill=FAINT, font=font(SMALL_SIZE))
        top += 22
    return page


@dataclass(frozen=True)
class Block:
    """A table of pictures, row by row, under a title; "" for none."""

    title: str
    rows: list[list[Image.Image]]


def grid_size(columns: int, rows: int, blocks: int, width: int, height: int) -> tuple[int, int]:
    """About how large the page of such a grid is, in pixels, for cells of this size."""
    head = LINE_HEIGHT * (2 * MOST_LINES)
    across = 2 * GAP + GRID_LABEL + columns * (max(width, GRID_LABEL) + GAP)
    return across, 2 * GAP + blocks * (head + rows * (height + GAP))


def draw_grid(blocks: list[Block], columns: list[str], rows: list[str]) -> Image.Image:
    """Labelled tables below each other, every picture in its own pixels: nothing is scaled."""
    widths = [max(GRID_LABEL, *(row[at].width for block in blocks for row in block.rows)) for at in range(len(columns))]
    label = GRID_LABEL + GAP if any(rows) else 0
    width = 2 * GAP + label + sum(widths) + GAP * (len(widths) - 1)
    heads = [wrapped(text, room) for text, room in zip(columns, widths, strict=True)]
    titles = [wrapped(block.title, width - 2 * GAP) if block.title else [] for block in blocks]
    head = LINE_HEIGHT * max(map(len, heads)) + GAP // 2
    heights = [[max(image.height for image in row) for row in block.rows] for block in blocks]
    tall = [
        LINE_HEIGHT * len(title) + head + sum(each) + GAP * len(each)
        for title, each in zip(titles, heights, strict=True)
    ]
    page = Image.new("RGB", (width, GAP + sum(tall) + GAP * (len(blocks) - 1)), PAPER)
    pen = ImageDraw.Draw(page)
    lefts = [GAP + label + sum(widths[:at]) + GAP * at for at in range(len(widths))]
    top = GAP
    for block, title, row_heights in zip(blocks, titles, heights, strict=True):
        top = write_lines(pen, (GAP, top), title, INK)
        for left, head_lines in zip(lefts, heads, strict=True):
            write_lines(pen, (left, top), head_lines, INK)
        top += head
        for images, text, height in zip(block.rows, rows, row_heights, strict=True):
            write_lines(pen, (GAP, top), wrapped(text, GRID_LABEL), INK)
            for left, image in zip(lefts, images, strict=True):
                page.paste(image.convert("RGB"), (left, top))
            top += height + GAP
        top += GAP
    return page


def write_lines(pen: ImageDraw.ImageDraw, corner: tuple[int, int], lines: list[str], fill: str) -> int:
    """Lines of small text; returns where the next would stand."""
    for number, line in enumerate(lines):
        pen.text((corner[0], corner[1] + LINE_HEIGHT * number), line, fill=fill, font=font(SMALL_SIZE))
    return corner[1] + LINE_HEIGHT * len(lines)


def wrapped(text: str, width: int, most: int = MOST_LINES) -> list[str]:
    """A label in lines of that many pixels, cut with dots if there are too many."""
    small = font(SMALL_SIZE)
    characters = max(4, int(width * len(text) / max(1.0, small.getlength(text)))) if text else 4
    lines = textwrap.wrap(text, characters) or [""]
    if len(lines) > most:
        lines = [*lines[: most - 1], lines[most - 1][: max(1, characters - 3)] + "..."]
    return lines


def _draw_row(page: Image.Image, pen: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    pen.text((MARGIN, top + TILE // 2 - 24), row.label, fill=INK, font=font(LABEL_SIZE))
    for index, line in enumerate(textwrap.wrap(row.note, LABEL_WIDTH // (SMALL_SIZE // 2))):
        pen.text((MARGIN, top + TILE // 2 + 6 + 20 * index), line, fill=FAINT, font=font(SMALL_SIZE))
    for index, picture in enumerate(row.pictures):
        left = MARGIN + LABEL_WIDTH + index * (TILE + GAP)
        small = tile(picture)
        page.paste(small, (left + (TILE - small.width) // 2, top + (TILE - small.height) // 2))
        pen.rectangle((left - 1, top - 1, left + TILE, top + TILE), outline=LINE)
        if index < len(row.captions):
            pen.text(
                (left + TILE // 2, top + TILE + 6), row.captions[index], fill=FAINT, font=font(SMALL_SIZE), anchor="ma"
            )


def tile(picture: Image.Image) -> Image.Image:
    """A picture of any size whose longer side is TILE."""
    scale = TILE / max(picture.size)
    size = (max(1, round(picture.width * scale)), max(1, round(picture.height * scale)))
    return picture.convert("RGB").resize(size, Image.Resampling.LANCZOS)


def jpeg_uri(picture: Image.Image, side: int, quality: int = 88) -> str:
    """A picture as text that a page holds in itself, its longer side at most `side` pixels."""
    small = picture.convert("RGB")
    small.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=quality, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _height(row: Row) -> int:
    return TILE + (SMALL_SIZE + 12 if row.captions else 0) + GAP


def font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
