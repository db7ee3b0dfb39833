"""Captions in a table: metadata.jsonl, as `datasets` reads it with its imagefolder, and diffusers' scripts by it.

A line is a JSON object: "file_name" is a picture's path from the file's folder; the caption's name is up to who trains.
Diffusers' scripts take "text" (train_text_to_image) or "prompt" (dreambooth's convert_to_imagefolder) unless told
otherwise, others "caption"; the first of these that is there counts.
"""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from limner.errors import UserError

METADATA = "metadata.jsonl"
FILE_NAME = "file_name"
TEXTS = ("text", "prompt", "caption")
MOST_BYTES = 1 << 28


def lines(data: bytes, path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a file's lines, blank ones left out. path: for messages. Raises UserError."""
    try:
        texts = data.decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text; save it as UTF-8") from error
    for number, text in enumerate(texts, 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (json.JSONDecodeError, RecursionError) as error:
            raise UserError(f"{path}, line {number}, is no JSON ({error}); correct it there") from error
        if not isinstance(row, dict) or not isinstance(row.get(FILE_NAME), str):
            raise UserError(f'{path}, line {number}, names no picture; write {{"file_name": "cat.png", "text": ...}}')
        yield row


def text_name(row: dict[str, Any]) -> str:
    """Under which name a row has its caption, or would have it."""
    return next((name for name in TEXTS if isinstance(row.get(name), str)), TEXTS[0])


def named(row: dict[str, Any]) -> str:
    """The picture of a row, as a plain path with slashes: "./a/b.png" -> "a/b.png"."""
    return str(PurePosixPath(row[FILE_NAME].replace("\\", "/")))


def captions_in(data: bytes, path: Path) -> dict[str, str]:
    """Captions on one line by the pictures' paths; pictures without one are left out. Raises UserError."""
    found: dict[str, str] = {}
    for row in lines(data, path):
        text = row.get(text_name(row))
        if isinstance(text, str) and text.strip():
            found.setdefault(named(row), " ".join(text.replace("\0", " ").split()))
    return found


def read_captions(folder: Path) -> dict[str, str]:
    """The captions of a folder's metadata.jsonl; none if it has no such file. Raises UserError."""
    path = folder / METADATA
    if not path.is_file():
        return {}
    return captions_in(read_bytes(path), path)


def read_bytes(path: Path) -> bytes:
    """Its bytes. Raises UserError."""
    try:
        with path.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}); make it readable") from error
    if len(data) > MOST_BYTES:
        raise UserError(f"{path} has more than {MOST_BYTES >> 20} MiB; split it, each part beside its pictures")
    return data


def beside(folder: Path) -> dict[str, str]:
    """Captions by file name of the pictures in a folder: of its own metadata.jsonl, else of the one above it."""
    above = folder.absolute().parent
    inside = f"{folder.absolute().name}/"
    found = {name.removeprefix(inside): text for name, text in read_captions(above).items() if name.startswith(inside)}
    return found | read_captions(folder)
