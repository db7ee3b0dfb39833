"""torch.save's files before the zip, and still on request: five pickles, then the tensors' bytes one by one."""

import io
from typing import Any

from limner.container import pickled
from limner.container.names import Storage
from limner.container.places import Contents, Refused
from limner.container.program import MAX_BYTES, Program

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001


def is_legacy(start: bytes) -> bool:
    """Whether a file's first 32 bytes begin a pickle of torch's mark."""
    return start[:1] == b"\x80" and MAGIC.to_bytes(10, "little") in start


def read(stream: io.FileIO, size: int) -> Contents:
    """The tensors of a file. Raises Refused if the programs are not torch's or their tensors' bytes are not there."""
    stream.seek(0)
    data = stream.read(MAX_BYTES)
    storages = _Storages()
    magic, at = _run(data, 0)
    version, at = _run(data, at)
    machine, at = _run(data, at)
    if magic != MAGIC or version != PROTOCOL or not isinstance(machine, dict):
        raise Refused("is a pickle, but none of torch.save", "use a .safetensors file of what it holds")
    if machine.get("little_endian") is not True:
        raise Refused("holds numbers in the byte order of other machines", "save it again on this one")
    program = Program(data, at, storages.load)
    top = program.run()
    keys, at = _run(data, program.at)
    storages.find(stream, at, keys, size)
    return pickled.contents(top)


def _run(data: bytes, at: int) -> tuple[Any, int]:
    """A pickle's value, which has no tensors, and the byte behind it."""
    program = Program(data, at, pickled.require_storage)
    return program.run(), program.at


class _Storages:
    """The storages that a program asks for, whose bytes stand behind it in an order of their own."""

    def __init__(self) -> None:
        self.whole: dict[str, Storage] = {}
        self.parts: list[tuple[Storage, Storage, int]] = []  # a part, the storage that it is of, its offset in bytes

    def load(self, told: tuple[Any, ...]) -> Any:
        if type(told) is tuple and len(told) == 4 and told[0] == "module":
            return told[1]  # a class, which comes with its source; the source is left alone
        kind, key, length, more = pickled.require_storage(told)
        width = kind.dtype.itemsize if kind.dtype else 1
        whole = self.whole.setdefault(key, Storage(0, length * width, kind.dtype))
        if whole.size != length * width or whole.dtype is not kind.dtype:
            raise Refused("lies about its tensors: one storage has two sizes", "do not trust it")
        match more:
            case [] | [None]:
                return whole
            case [(str(), int() as offset, int() as count)] if offset >= 0 and count >= 0 and offset + count <= length:
                part = Storage(0, count * width, kind.dtype)
                self.parts.append((part, whole, offset * width))
                return part
        raise Refused("lies about its tensors: one reaches beyond its storage", "do not trust it")

    def find(self, stream: io.FileIO, at: int, keys: Any, size: int) -> None:
        """Say where each storage begins: `keys` in the file's order, from byte `at` on, each behind its length."""
        if type(keys) is not list or not all(isinstance(key, str) for key in keys) or set(keys) != self.whole.keys():
            raise Refused("lies about its tensors: it does not bring those that it names", "do not trust it")
        for key in keys:
            storage = self.whole[key]
            stream.seek(at)
            width = storage.dtype.itemsize if storage.dtype else 1
            if int.from_bytes(stream.read(8), "little") * width != storage.size:
                raise Refused("lies about its tensors: one storage has two sizes", "do not trust it")
            storage.start = at + 8
            at += 8 + storage.size
            if at > size:
                raise Refused("is cut short, or lies about its tensors: their bytes are missing")
        for part, whole, offset in self.parts:
            part.start = whole.start + offset
