"""Captions in a table: metadata.jsonl, as `datasets` reads it with its imagefolder, and diffusers' scripts by it.

A line is a JSON object: "file_name" is an image's path from the file's folder; the caption's name is up to who trains.
Diffusers' scripts take "text" (train_text_to_image) or "prompt" (dreambooth's convert_to_imagefolder) unless told
otherwise, others "caption"; the first of these that is there counts.
"""

import json
import posixpath
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from limner.data.names import Names, name_key
from limner.errors import UserError
from limner.inventory import Inventory
from limner.texts import UnknownEncoding, decode_text, display

METADATA = "metadata.jsonl"
FILE_NAME = "file_name"
TEXTS = ("text", "prompt", "caption")
MOST_BYTES = 1 << 28


def lines(data: bytes, path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file's lines, blank ones left out. path: for messages. Raises UserError."""
    try:
        texts = decode_text(data, is_data=True).split("\n")
    except UnknownEncoding as error:
        raise UserError(f"{display(path)} {error}") from error
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise UserError(f"{display(path)}, line {number}, is no JSON ({error}); correct it there") from error
        if not isinstance(row, dict) or not isinstance(row.get(FILE_NAME), str):
            raise UserError(
                f'{display(path)}, line {number}, names no picture; write {{"file_name": "cat.png", "text": ...}}'
            )
        yield row


def text_name(row: dict[str, Any]) -> str:
    """Under which name a row has its caption, or would have it."""
    return next((name for name in TEXTS if isinstance(row.get(name), str)), TEXTS[0])


def named(row: dict[str, Any]) -> str:
    """The image of a row, as a plain path with slashes: ".\\a\\b.png" -> "a/b.png"."""
    return posixpath.normpath(row[FILE_NAME].replace("\\", "/"))


class Captions:
    """The captions of a table by their images' paths from its folder, and what is not used of it. Raises UserError."""

    def __init__(self, data: bytes, path: Path) -> None:
        """path: for messages."""
        self.path = path
        self.names: list[str] = []
        self._texts: dict[str, str] = {}  # by name_key of the path, as everywhere below
        self._rows: dict[str, str] = {}
        self._reasons: list[tuple[str, str]] = []
        self._columns = Inventory(())
        for number, row in enumerate(lines(data, path), 1):
            self._take(number, row)

    def _take(self, number: int, row: dict[str, Any]) -> None:
        name, column = named(row), text_name(row)
        key, text = name_key(name), row.get(column)
        self._columns.use(FILE_NAME, column)
        for other in row.keys() - {FILE_NAME, *self._columns.used}:
            self._columns.leave("a caption is read from the first of text, prompt and caption", other)
        if key in self._rows:
            self._reasons.append((f"row {number}, {name}", "an earlier row is about the same image"))
            return
        self.names.append(name)
        self._rows[key] = name
        if isinstance(text, str) and text.strip():
            self._texts[key] = unicodedata.normalize("NFC", text.replace("\0", " ").strip())
        else:
            self._reasons.append((f"row {number}, {name}", "it has no text, prompt or caption"))

    def text(self, name: str) -> str | None:
        """The caption of an image, as it is written there."""
        return self._texts.get(name_key(name))

    def remarks(self, images: Iterable[str], inside: str = "") -> list[str]:
        """Sentences on the rows and columns that are not used. images: all that are there. inside: a folder, ending
        in a slash, whose rows alone are asked about."""
        there = {name_key(name) for name in images}
        rows = Inventory(name for key, name in self._rows.items() if key.startswith(name_key(inside)))
        rows.use(*(name for key, name in self._rows.items() if key.startswith(name_key(inside)) and key in there))
        rows.leave("no image has that name", *(n for names in rows.left.values() for n in names))
        for name, reason in self._reasons:
            rows.leave(reason, name)
        return [*rows.remarks(self.path, "row", "rows"), *self._columns.remarks(self.path, "column", "columns")]


def read_captions(folder: Path, names: Names | None = None) -> Captions | None:
    """The table of a folder, None if it has none. names: of the folder's files, if known. Raises UserError."""
    name = METADATA if names is None else names.find(METADATA)
    if name is None or not (folder / name).is_file():
        return None
    return Captions(read_bytes(folder / name), folder / name)


def read_bytes(path: Path) -> bytes:
    """Its bytes. Raises UserError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {display(path)} ({error.strerror}); make it readable") from error
    if len(data) > MOST_BYTES:
        raise UserError(f"{display(path)} has more than {MOST_BYTES >> 20} MiB; split it, each part beside its images")
    return data
