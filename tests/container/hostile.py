"""Files made by hand, byte by byte, and what is expected of all that do harm."""

import io
import json
import pickle
import struct
import time
import zipfile
from pathlib import Path

import pytest

from limner.container.header import read_tensors
from limner.errors import UserError


def refused(path: Path, data: bytes) -> str:
    """The sentence with which these bytes are refused."""
    path.write_bytes(data)
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        read_tensors(path)
    assert time.monotonic() - started < 10
    sentence = str(caught.value)
    assert sentence.startswith(str(path))
    assert sentence.isprintable()
    assert len(sentence) < len(str(path)) + 300
    return sentence.removeprefix(f"{path} ")


# pickles, written by hand


def name(module: str, name: str) -> bytes:
    return pickle.GLOBAL + f"{module}\n{name}\n".encode()


def text(value: str) -> bytes:
    return pickle.BINUNICODE + struct.pack("<I", len(value.encode())) + value.encode()


def number(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return pickle.LONG1 + bytes([len(raw)]) + raw


def numbers(*values: int) -> bytes:
    return pickle.MARK + b"".join(number(value) for value in values) + pickle.TUPLE


def storage(key: str = "0", length: int = 4, kind: str = "FloatStorage") -> bytes:
    told = text("storage") + name("torch", kind) + text(key) + text("cpu") + number(length)
    return pickle.MARK + told + pickle.TUPLE + pickle.BINPERSID


def tensor(where: bytes, offset: int = 0, shape: tuple[int, ...] = (4,), stride: tuple[int, ...] = (1,)) -> bytes:
    arguments = where + number(offset) + numbers(*shape) + numbers(*stride) + pickle.NEWFALSE + pickle.NONE
    return name("torch._utils", "_rebuild_tensor_v2") + pickle.MARK + arguments + pickle.TUPLE + pickle.REDUCE


def program(*items: bytes) -> bytes:
    """A dictionary of keys and values in turn."""
    return pickle.PROTO + b"\x02" + pickle.EMPTY_DICT + pickle.MARK + b"".join(items) + pickle.SETITEMS + pickle.STOP


def zipped(data: bytes, *, method: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    members = {"data_0": bytes(16), "version": b"3\n"} | members
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        archive.writestr("x/data.pkl", data)
        for member, content in members.items():
            archive.writestr(f"x/{member.replace('_', '/')}", content)
    return buffer.getvalue()


def safetensors(header: object, data: bytes = b"") -> bytes:
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def entry(begin: int, end: int, shape: object = None, dtype: object = "F32") -> dict[str, object]:
    return {"dtype": dtype, "shape": [(end - begin) // 4] if shape is None else shape, "data_offsets": [begin, end]}
