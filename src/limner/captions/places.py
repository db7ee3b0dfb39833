"""Where the captions of a folder stand: files beside pictures, rows of metadata.jsonl; read, and changed together."""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from limner.data import metadata
from limner.data.dataset import Part
from limner.data.decode import Unusable
from limner.data.folder import MAX_CAPTION_BYTES, caption_lines
from limner.data.layout import find_dataset
from limner.data.listing import LOOKING
from limner.data.names import name_key, names_in, stem_of
from limner.data.source import Source, find_sources
from limner.files import MOST_NAME_BYTES
from limner.texts import decode_text


class Table:
    """A metadata.jsonl in memory. Rows that are not changed stay as they are, letter for letter."""

    def __init__(self, path: Path) -> None:
        """Raises UserError for a file that is damaged."""
        self.path = path
        data = metadata.read_bytes(path)
        self._rows = list(metadata.lines(data, path))
        self._lines = [line for line in decode_text(data, is_data=True).split("\n") if line.strip()]
        self._number: dict[str, int] = {}
        for number, row in enumerate(self._rows):
            self._number.setdefault(name_key(metadata.named(row)), number)

    def has(self, name: str) -> bool:
        return name_key(name) in self._number

    def text(self, name: str) -> str | None:
        """The caption of a picture, None if it has a row without one."""
        row = self._rows[self._number[name_key(name)]]
        text = row.get(metadata.text_name(row))
        return text.replace("\0", " ").strip() or None if isinstance(text, str) else None

    def set(self, name: str, text: str) -> None:
        number = self._number[name_key(name)]
        row = self._rows[number]
        row[metadata.text_name(row)] = text
        self._lines[number] = json.dumps(row, ensure_ascii=False)

    def content(self) -> str:
        """The file as it is to be."""
        return "\n".join(self._lines) + "\n"


@dataclass
class Place:
    """A picture and where its caption stands. text: None if there is none. problem: why it cannot be read or written.
    lines: how many the text stands on.

    file: beside it, whether it is there or not. rows: the tables that list the picture, nearest first, and its name in
    each.
    """

    source: Source
    part: Part
    text: str | None = None
    problem: str = ""
    lines: int = 1
    file: Path | None = None
    rows: list[tuple[Table, str]] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.source.name


def find_places(images: Path) -> Iterator[Place]:
    """Every picture of a folder, zip or data set that is taught, with its caption; those of the class are left out.

    Raises UserError for what is not there, and for tables that are damaged.
    """
    if images.is_file() and images.suffix.lower() != ".toml":
        yield from _of_zip(images)
        return
    tables: dict[Path, Table | None] = {}
    root = images.parent if images.is_file() else images
    for part in find_dataset(images).taught:
        for source in find_sources(part.folder):
            if part.folder != root and "/" in source.name:  # of a data set's folders the pictures themselves alone
                continue
            yield _place(source, part, _named_from(root, source), tables)


def _named_from(root: Path, source: Source) -> Source:
    """The same source by its path from the folder that was given, where it lies in that."""
    path = source.path
    return Source(root, path.relative_to(root).as_posix()) if path.is_relative_to(root) else source


def _of_zip(path: Path) -> Iterator[Place]:
    from limner.captions.own import OwnCaptions

    own = OwnCaptions()
    for source in find_sources(path):
        place = Place(source, Part(path))
        try:
            place.text = own.of(source)
            place.lines = own.lines
        except Unusable as problem:
            place.problem = str(problem)
        yield place


def _place(inside: Source, part: Part, source: Source, tables: dict[Path, Table | None]) -> Place:
    place = Place(source, part)
    lines: list[str] = []
    try:
        beside = inside.name_beside(part.captions)
        if beside is not None:
            place.file = inside.root / beside
            lines = caption_lines(_begin(place.file, MAX_CAPTION_BYTES + 1), place.file.name)
    except (Unusable, OSError) as problem:
        place.problem = str(problem)
        return place
    above = inside.root.absolute().parent
    path = above / inside.root.absolute().name / inside.name
    for folder in [each for each in path.parents if each.is_relative_to(above)]:
        if folder not in tables:
            found = names_in(folder, LOOKING).find(metadata.METADATA)
            tables[folder] = Table(folder / found) if found is not None and (folder / found).is_file() else None
        table, name = tables[folder], path.relative_to(folder).as_posix()
        if table is not None and table.has(name):
            place.rows.append((table, name))
            lines = lines or [" ".join(line.split()) for line in (table.text(name) or "").splitlines() if line.strip()]
    place.text, place.lines = " ".join(lines) or None, len(lines)
    if place.file is None and not place.rows:
        ending = ".txt" if ".txt" in part.captions else part.captions[0]
        place.file = source.path.with_name(stem_of(source.name) + ending)
        if len(os.fsencode(place.file.name)) > MOST_NAME_BYTES:
            place.problem = "has too long a name for a caption file beside it"
    return place


def _begin(path: Path, most_bytes: int) -> bytes:
    with path.open("rb") as stream:
        return stream.read(most_bytes)
