"""How things are spoiled: bytes, a safetensors header, a pickle's program, an archive, a prompt, a picture's text.

Every function takes a random generator and something whole, and gives something of the same kind with a few wounds.
"""

import base64
import io
import json
import math
import pickle
import pickletools
import struct
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

from bench.fuzz.pieces import DTYPES, GLOBALS, METADATA, NAMES, NUMBERS, SHAPES, WORDS
from limner.container import places
from limner.formats import picture

Mutator = Callable[[Random, bytes], bytes]


def of_bytes(random: Random, data: bytes) -> bytes:
    """A flipped bit, another byte, a number of 4 or 8 bytes, a piece gone, doubled, moved, or repeated."""
    spoiled = bytearray(data)
    at = random.randrange(len(spoiled) + 1)
    length = random.choice((1, 2, 4, 8, 30, 200))
    piece = bytes(spoiled[at : at + length])
    match random.randrange(7):
        case 0 if at < len(spoiled):
            spoiled[at] ^= 1 << random.randrange(8)
        case 1 if at < len(spoiled):
            spoiled[at] = random.randrange(256)
        case 2:
            size = random.choice((4, 8))
            number = random.choice(NUMBERS) % 256**size
            spoiled[at : at + size] = number.to_bytes(size, random.choice(("little", "big")))
        case 3:
            del spoiled[at : at + length]
        case 4:
            spoiled[at:at] = piece * random.choice((1, 1, 3, 100))
        case 5:
            to = random.randrange(len(spoiled) + 1)
            spoiled[to : to + length] = piece
        case _:
            spoiled = spoiled[:at] if random.random() < 0.3 else spoiled + random.randbytes(length)
    return bytes(spoiled)


def of_json(random: Random, value: Any, depth: int = 0) -> Any:
    """One value somewhere inside becomes another."""
    if isinstance(value, dict) and value and depth < 4 and random.random() < 0.9:
        name = random.choice(list(value))
        action = random.random()
        if action < 0.1:
            return {key: part for key, part in value.items() if key != name}
        if action < 0.2:
            return {random.choice(NAMES) if key == name else key: part for key, part in value.items()}
        return value | {name: of_json(random, value[name], depth + 1)}
    if isinstance(value, list) and value and random.random() < 0.8:
        at = random.randrange(len(value))
        return [*value[:at], of_json(random, value[at], depth + 1), *value[at + 1 :]]
    if isinstance(value, int) and random.random() < 0.5:
        return value + random.choice((-8, -4, -1, 1, 4, 8))
    return random.choice(
        (random.choice(NUMBERS), random.choice(NAMES), random.choice(DTYPES), 0.5, True, [], {}, [[]], "F32")
    )


def of_safetensors(random: Random, data: bytes) -> bytes:
    """A wound of the header, which is written whole again, or of the bytes."""
    length = int.from_bytes(data[:8], "little")
    try:
        header = json.loads(data[8 : 8 + length])
    except (ValueError, RecursionError):
        return of_bytes(random, data)
    if random.random() < 0.3 or not isinstance(header, dict):
        return of_bytes(random, data)
    if random.random() < 0.4:
        return _laid_out(random, header)
    if random.random() < 0.25:
        name = random.choice(list(METADATA))
        known = header.get("__metadata__")
        header["__metadata__"] = (known if isinstance(known, dict) else {}) | {name: random.choice(METADATA[name])}
    else:
        header = of_json(random, header)
    raw = json.dumps(header).encode()
    if random.random() < 0.1 and len(raw) > 2:  # a name twice
        raw = raw[:-1] + b"," + raw[1:]
    return struct.pack("<Q", len(raw)) + raw + data[8 + length :]


def _laid_out(random: Random, header: dict[str, Any]) -> bytes:
    """A sound file of tensors of which one has another name, dtype or shape: for what is behind the header."""
    found = {name: entry for name, entry in header.items() if isinstance(entry, dict)}
    tensors: list[list[Any]] = [
        [name, dtype if (dtype := str(entry.get("dtype"))) in places.DTYPES else "F32", _shape(entry.get("shape"))]
        for name, entry in found.items()
    ]
    changed = random.choice(tensors) if tensors else ["a", "F32", [1]]
    match random.randrange(4):
        case 0:
            changed[0] = random.choice(NAMES)
        case 1:
            changed[1] = random.choice(list(places.DTYPES))
        case 2:
            changed[2] = random.choice(SHAPES)
        case _:
            tensors.append([random.choice(NAMES), *changed[1:]])
    entries: dict[str, Any] = {"__metadata__": header.get("__metadata__", {})}
    at = 0
    for name, dtype, shape in tensors:
        size = 0 if name in entries else math.prod(shape) * places.DTYPES[dtype].itemsize
        entries.setdefault(name, {"dtype": dtype, "shape": shape, "data_offsets": [at, at + size]})
        at += size
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw + random.choice((b"\0", b"\x3c", b"\xff", b"\x7f")) * at


def _shape(shape: Any) -> list[int]:
    """What an entry says, if it is small enough to be made."""
    if isinstance(shape, list) and all(type(n) is int and n >= 0 for n in shape) and math.prod(shape) <= 10_000:
        return shape
    return [1]


def of_program(random: Random, data: bytes) -> bytes:
    """An instruction of a pickle gone, doubled, moved, with another argument, or a new one."""
    try:
        starts = [position for _, _, position in pickletools.genops(data) if position is not None]
    except (ValueError, IndexError, KeyError, AttributeError, OverflowError):
        return of_bytes(random, data)
    steps = [data[at:to] for at, to in zip(starts, [*starts[1:], len(data)], strict=True)]
    for _ in range(random.choice((1, 1, 1, 2, 5))):
        at = random.randrange(len(steps))
        match random.randrange(5):
            case 0:
                del steps[at : at + random.choice((1, 1, 3))]
                steps = steps or [pickle.STOP]
            case 1:
                steps[at:at] = [steps[at]] * random.choice((1, 2, 50))
            case 2:
                steps[at:at] = [random.choice(steps)]
            case 3:
                steps[at] = of_bytes(random, steps[at]) if len(steps[at]) > 1 else random.randbytes(1)
            case _:
                steps[at:at] = [_step(random)]
    return b"".join(steps)


def _step(random: Random) -> bytes:
    """An instruction out of the blue."""
    text = random.choice((*NAMES, "storage", "cpu", "latin1", "<", "f8", "touch ran")).encode(errors="replace")
    value = random.choice(NUMBERS)
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return random.choice(
        (
            pickle.GLOBAL + "{}\n{}\n".format(*random.choice(GLOBALS).split()).encode(),
            pickle.BINUNICODE + struct.pack("<I", len(text)) + text,
            pickle.LONG1 + bytes([len(raw)]) + raw,
            pickle.BINGET + random.randbytes(1),
            pickle.SHORT_BINBYTES + b"\x08" + random.randbytes(8),
            bytes([random.choice(b"}])(t\x85\x86\x87Rb\x81Qsuea01N\x88\x94\x93\x8f\x902")]),
        )
    )


def of_archive(random: Random, data: bytes) -> bytes:
    """A wound of the program, of another member, of the archive's own structure, or of the bytes."""
    if random.random() < 0.25:
        return of_bytes(random, data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [(info.filename, archive.read(info)) for info in archive.infolist()]
    except (
        zipfile.BadZipFile,
        zlib.error,
        ValueError,
        NotImplementedError,
        EOFError,
        OSError,
        struct.error,
        RuntimeError,
    ):
        return of_bytes(random, data)
    at = random.randrange(len(members)) if members else 0
    method = zipfile.ZIP_STORED
    if not members or random.random() < 0.1:
        members.append(
            (random.choice(("x/data/9", "x/code/a.py", "../x", "x/version", "y/data/0")), random.randbytes(9))
        )
    elif random.random() < 0.1:
        method = random.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2))
    elif random.random() < 0.1:
        members[at] = (members[at][0], of_bytes(random, members[at][1]))
    else:
        members = [(name, of_program(random, part) if name.endswith("data.pkl") else part) for name, part in members]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, part in members:
            archive.writestr(zipfile.ZipInfo(name), part, method)
    return buffer.getvalue()


def of_legacy(random: Random, data: bytes) -> bytes:
    """A wound of one of the programs of torch's older files, or of the bytes."""
    ends, at = [0], 0
    try:
        for _ in range(5):
            at += [position for _, _, position in pickletools.genops(data[at:]) if position is not None][-1] + 1
            ends.append(at)
    except (ValueError, IndexError, KeyError, AttributeError, OverflowError):
        return of_bytes(random, data)
    if random.random() < 0.3:
        return of_bytes(random, data)
    which = random.choice((0, 1, 2, 3, 3, 3, 3, 3, 4, 4))
    return data[: ends[which]] + of_program(random, data[ends[which] : ends[which + 1]]) + data[ends[which + 1] :]


def of_text(random: Random, data: bytes) -> bytes:
    """Words that mean something to a prompt or to a picture's text, put in, doubled, or in place of others."""
    text = data.decode("utf-8", "surrogatepass" if random.random() < 0.9 else "replace") if _is_utf8(data) else ""
    at = random.randrange(len(text) + 1)
    to = min(len(text), at + random.choice((0, 1, 3, 20)))
    match random.randrange(4):
        case 0:
            text = text[:at] + random.choice(WORDS) * random.choice((1, 1, 1, 2, 40)) + text[to:]
        case 1:
            text = text[:at] + text[to:]
        case 2:
            text = text[:to] + text[at:to] * random.choice((1, 2, 30)) + text[to:]
        case _:
            text = text[:at] + "".join(random.choices(WORDS, k=random.choice((2, 5, 30)))) + text[at:]
    return text[:20_000].encode("utf-8", "surrogatepass")


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def of_png(random: Random, data: bytes) -> bytes:
    """A wound of a text chunk, whose checksum is made right again, or of the bytes."""
    chunks = _chunks(data)
    texts = [at for at, (kind, _) in enumerate(chunks) if kind in (b"tEXt", b"iTXt", b"zTXt", b"eXIf")]
    if not texts or random.random() < 0.3:
        return of_bytes(random, data)
    at = random.choice(texts)
    kind, content = chunks[at]
    key, _, text = content.partition(b"\0")
    if kind == b"zTXt" and random.random() < 0.7:
        content = key + b"\0\0" + zlib.compress(of_text(random, b"a fox"))
    elif key == picture.CHUNK.encode() and random.random() < 0.8:
        content = key + b"\0" + base64.b64encode(_embedding(random, text))
    elif random.random() < 0.8:
        content = key + b"\0" + of_text(random, text)
    else:
        content = of_bytes(random, content)
    chunks[at : at + 1] = [(kind, content)] * random.choice((1, 1, 1, 2))
    return data[:8] + b"".join(
        struct.pack(">I", len(part)) + name + part + struct.pack(">I", zlib.crc32(name + part)) for name, part in chunks
    )


def _embedding(random: Random, text: bytes) -> bytes:
    """The JSON in a picture's chunk, with a wound."""
    try:
        said = base64.b64decode(text)
        return (
            json.dumps(of_json(random, json.loads(said))).encode() if random.random() < 0.8 else of_bytes(random, said)
        )
    except (ValueError, RecursionError):
        return of_bytes(random, b"{}")


def _chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    return chunks
