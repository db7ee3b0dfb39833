"""torch.save's zip: a program `data.pkl` and the tensors' bytes, `data/0` and on, none of them compressed."""

import io
import re
import struct
import zipfile
from typing import Any

from limner.container import pickled
from limner.container.names import Storage
from limner.container.places import MAX_TENSORS, Contents, Refused, readable
from limner.container.program import MAX_BYTES, Program

START = b"PK\x03\x04"
MAX_DIRECTORY_BYTES = 4 * 2**20  # a member takes some 70 bytes of it
MAX_MEMBERS = MAX_TENSORS + 10
LOCAL = struct.Struct("<4s2xHH16xHH")  # a member's own header: mark, flags, method, lengths of name and extra field
# What torch has ever written, under one folder.
MEMBER = re.compile(
    r"(?P<top>[^/]+)/(?P<name>data\.pkl|data/\d+|version|byteorder|\.data/serialization_id"
    r"|\.format_version|\.storage_alignment)"
)
_ENCRYPTED = 1
_TOO_MANY = "is a zip archive of more parts than any model has"


def read(stream: io.FileIO, size: int) -> Contents:
    """The tensors of a zip. Raises Refused if it holds anything that torch does not write, or its parts overlap."""
    members = _members(stream, size)
    if "data.pkl" not in members:
        raise Refused("is a zip archive, but none of torch.save", "use another file")
    order = _bytes(stream, members, "byteorder", 16)
    if order not in (b"", b"little"):
        raise Refused("holds numbers in the byte order of other machines", "save it again on this one")
    program = _bytes(stream, members, "data.pkl", MAX_BYTES)

    def load(told: tuple[Any, ...]) -> Storage:
        kind, key, length, _ = pickled.require_storage(told)
        start, available = members.get(f"data/{key}", (0, -1))
        if length * (kind.dtype.itemsize if kind.dtype else 1) > available:
            raise Refused("is cut short, or lies about its tensors: their bytes are missing")
        return Storage(start, available, kind.dtype)

    return pickled.contents(Program(program, 0, load).run())


def _bytes(stream: io.FileIO, members: dict[str, tuple[int, int]], name: str, most: int) -> bytes:
    start, length = members.get(name, (0, 0))
    if length > most:
        raise Refused(f"has {length:,} bytes of {name}, which no model needs", "do not trust it")
    stream.seek(start)
    return stream.read(length)


def _members(stream: io.FileIO, size: int) -> dict[str, tuple[int, int]]:
    """{name without the folder: (offset of its first byte, length)}."""
    infos = _directory(stream)
    if len(infos) > MAX_MEMBERS:
        raise Refused(_TOO_MANY, "do not trust it")
    members: dict[str, tuple[int, int]] = {}
    tops = set()
    for info in infos:
        match = MEMBER.fullmatch(info.filename)
        if match is None:
            raise Refused(
                f"is a zip archive with {readable(info.filename)} in it, which torch.save does not write",
                "use a .safetensors file of what it holds",
            )
        tops.add(match["top"])
        if match["name"] in members or len(tops) > 1:
            raise Refused(f"holds {match['name']} twice, so that programs would disagree on it", "do not trust it")
        members[match["name"]] = _span(stream, info, match["name"])
    at = 0
    for start, length in sorted(members.values()):
        if start < at or start + length > size:
            raise Refused("is a zip archive whose parts overlap or reach beyond its end", "do not trust it")
        at = start + length
    return members


def _directory(stream: io.FileIO) -> list[zipfile.ZipInfo]:
    try:
        with zipfile.ZipFile(_Bounded(stream)) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, ValueError, struct.error, EOFError, NotImplementedError, OverflowError) as error:
        raise Refused("is a damaged zip archive") from error


def _span(stream: io.FileIO, info: zipfile.ZipInfo, name: str) -> tuple[int, int]:
    """Where a member's bytes are: behind a header of its own, whose name and extra field have their own lengths."""
    stream.seek(info.header_offset)
    header = stream.read(LOCAL.size)
    if len(header) < LOCAL.size or not header.startswith(START):
        raise Refused("is a damaged zip archive")
    _, flags, method, name_length, extra_length = LOCAL.unpack(header)
    if method or info.compress_type or (flags | info.flag_bits) & _ENCRYPTED or info.file_size != info.compress_size:
        raise Refused(f"is a zip archive with a compressed {name}, as torch.save does not write it", "do not trust it")
    return info.header_offset + LOCAL.size + name_length + extra_length, info.file_size


class _Bounded(io.RawIOBase):
    """A stream of which no large piece is read at once: the archive's directory is read whole."""

    def __init__(self, stream: io.FileIO) -> None:
        self._stream = stream

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= MAX_DIRECTORY_BYTES:
            count = MAX_DIRECTORY_BYTES
            piece = self._stream.read(count + 1)
            if len(piece) > count:
                raise Refused(_TOO_MANY, "do not trust it")
            return piece
        return self._stream.read(count)
