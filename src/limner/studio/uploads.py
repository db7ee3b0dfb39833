"""Files from a form, written to disk while they come: none is ever whole in memory, and too many end it early."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from fastapi import HTTPException
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header


@dataclass
class Limits:
    """files and bytes: of all that may still come. file_bytes: of one."""

    files: int
    bytes: int
    file_bytes: int


@dataclass
class _Form:
    """Follows a parser: each part with a file name becomes a file of the folder."""

    folder: Path
    limits: Limits
    files: list[tuple[str, Path]] = field(default_factory=list)
    header: bytes = b""
    value: bytes = b""
    disposition: bytes = b""
    stream: IO[bytes] | None = None
    size: int = 0
    is_whole: bool = False

    def on_part_begin(self) -> None:
        self.disposition = b""

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self.header += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self.value += data[start:end]

    def on_header_end(self) -> None:
        if self.header.lower() == b"content-disposition":
            self.disposition = self.value
        self.header = self.value = b""

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self.disposition)
        told = options.get(b"filename")
        if told is None:
            return
        if len(self.files) >= self.limits.files:
            raise HTTPException(413, f"there is room for {self.limits.files:,} more files in this set; give fewer")
        name = told.decode("utf-8", "replace").replace("%22", '"')
        path = self.folder / str(len(self.files))
        self.files.append((name, path))
        self.stream, self.size = path.open("wb"), 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self.stream is None:
            return
        self.size += end - start
        self.limits.bytes -= end - start
        if self.size > self.limits.file_bytes:
            most = self.limits.file_bytes >> 20
            raise HTTPException(413, f"{self.files[-1][0]} is larger than {most:,} MiB; leave it out")
        if self.limits.bytes < 0:
            raise HTTPException(413, "this set holds as much as a set may; make another one, or give smaller files")
        self.stream.write(data[start:end])

    def on_part_end(self) -> None:
        self.close()

    def on_end(self) -> None:
        self.is_whole = True

    def close(self) -> None:
        if self.stream is not None:
            self.stream.close()
            self.stream = None


async def receive(
    content_type: str, body: AsyncIterator[bytes], folder: Path, limits: Limits
) -> list[tuple[str, Path]]:
    """The files of a multipart form: (name as its sender has it, where it is now).

    Raises HTTPException: 413 for too much, 400 for what is no such form.
    """
    kind, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise HTTPException(400, "files come as a form (multipart/form-data); this is none")
    form = _Form(folder, limits)
    names = [name for name in dir(form) if name.startswith("on_")]
    try:
        parser = MultipartParser(boundary, {name: getattr(form, name) for name in names})  # type: ignore[arg-type]
        async for chunk in body:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise HTTPException(400, f"the form is damaged ({error}); send it again") from error
    except OSError as error:
        raise HTTPException(507, f"the files cannot be kept ({error.strerror}); make room on the disk") from error
    finally:
        form.close()
    if not form.is_whole and form.files:
        raise HTTPException(400, "the form ends in the middle; send it again")
    return form.files
