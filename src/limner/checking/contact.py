"""The contact sheet of a checked set: every picture with its mark and, in words, the reason for it."""

from collections.abc import Iterator, Sequence

from PIL import Image, ImageDraw

from limner.checking.summary import TITLES, Mark, Summary, brief, mark_of, together
from limner.checking.thumbnail import thumbnail
from limner.checking.verdict import Judged, Verdict
from limner.sheet import FAINT, GAP, INK, LINE, LINE_HEIGHT, MARGIN, PAPER, SMALL_SIZE, TILE, TITLE_SIZE, font, wrapped
from limner.texts import display

MOST = 240  # pictures on a sheet
ACROSS = 6
LINES = 4  # of text below a picture
BAND = 5  # pixels of colour above a picture
COLOURS: dict[Mark, str] = {"unusable": "#7a1f1f", "out": "#c8442f", "note": "#d29a1c", "fine": "#3f8f57"}
GROUND = "#eceae4"  # around pictures, so that a white border is seen
BEST = "#2f6fb0"  # above the best of pictures that show the same, and under its group
WIDTH = 2 * MARGIN + ACROSS * (TILE + GAP) - GAP
CELL = BAND + TILE + 6 + LINES * LINE_HEIGHT + GAP


def draw_contact(title: str, verdict: Verdict, summary: Summary, most: int = MOST) -> Image.Image:
    """The sheet: worst first, pictures that show the same side by side, at most about `most` pictures."""
    groups = list(together(verdict, summary, most))
    rows = list(_rows(groups))
    shown = sum(map(len, groups))
    notes = [remark.sentence for remark in verdict.remarks]
    if shown < len(verdict):
        notes.append(f"The {len(verdict) - shown} pictures that are not here have less to say.")
    head = [line for note in notes for line in wrapped(note, WIDTH - 2 * MARGIN)]
    top = MARGIN + TITLE_SIZE + GAP + LINE_HEIGHT * (len(head) + 2) + GAP
    page = Image.new("RGB", (WIDTH, top + CELL * len(rows) + MARGIN - GAP), PAPER)
    pen = ImageDraw.Draw(page)
    _draw_head(pen, title, summary, head)
    for row in rows:
        for column, (at, place, size) in enumerate(row):
            _draw_cell(page, pen, verdict[at], MARGIN + column * (TILE + GAP), top, place, size)
        top += CELL
    return page


def _rows(groups: Sequence[tuple[int, ...]]) -> Iterator[list[tuple[int, int, int]]]:
    """Rows of pictures: the place of each, its number in its group, and the group's size.

    A group that would be torn by the end of a row begins the next, unless it is longer than a row itself.
    """
    row: list[tuple[int, int, int]] = []
    for group in groups:
        if row and len(row) + len(group) > ACROSS and len(group) > 1:
            yield row
            row = []
        for place, at in enumerate(group):
            if len(row) == ACROSS:
                yield row
                row = []
            row.append((at, place, len(group)))
    if row:
        yield row


def _draw_head(pen: ImageDraw.ImageDraw, title: str, summary: Summary, head: list[str]) -> None:
    pen.text((MARGIN, MARGIN - 8), title, fill=INK, font=font(TITLE_SIZE))
    left, top = MARGIN, MARGIN + TITLE_SIZE + GAP
    for mark, text in TITLES.items():
        if summary.marks[mark]:
            pen.rectangle((left, top + 3, left + 12, top + 15), fill=COLOURS[mark])
            told = f"{summary.marks[mark]} {text}"
            pen.text((left + 18, top), told, fill=INK, font=font(SMALL_SIZE))
            left += 18 + int(font(SMALL_SIZE).getlength(told)) + 2 * GAP
    for number, line in enumerate(head):
        pen.text((MARGIN, top + LINE_HEIGHT * (number + 1) + GAP // 2), line, fill=INK, font=font(SMALL_SIZE))


def _draw_cell(
    page: Image.Image, pen: ImageDraw.ImageDraw, judged: Judged, left: int, top: int, place: int, size: int
) -> None:
    """A picture with its mark above it, and its name and what is said of it below."""
    colour = BEST if size > 1 and place == 0 else COLOURS[mark_of(judged)]
    pen.rectangle((left, top, left + TILE - 1, top + BAND - 1), fill=colour)
    top += BAND
    pen.rectangle((left, top, left + TILE - 1, top + TILE - 1), fill=GROUND, outline=LINE)
    small = thumbnail(judged.source, TILE)
    if small is None:
        pen.line((left + 60, top + 60, left + 100, top + 100), fill=COLOURS["unusable"], width=4)
        pen.line((left + 60, top + 100, left + 100, top + 60), fill=COLOURS["unusable"], width=4)
    else:
        page.paste(small, (left + (TILE - small.width) // 2, top + (TILE - small.height) // 2))
    if place < size - 1:  # what shows the same is joined to the next
        pen.rectangle((left + TILE, top + TILE // 2 - 2, left + TILE + GAP, top + TILE // 2 + 1), fill=BEST)
    top += TILE + 6
    name = wrapped(display(judged.facts.name), TILE, 1)
    said = wrapped(brief(judged), TILE, LINES - 1) if judged.findings else []
    for number, line in enumerate([*name, *said]):
        ink = INK if number == 0 else FAINT
        pen.text((left, top + LINE_HEIGHT * number), line, fill=ink, font=font(SMALL_SIZE - 2))
