"""The safetensors container, read: a JSON header, of which every claim is checked, and the tensors' bytes."""

import io
import json
import math
import re
from collections import Counter
from itertools import islice
from typing import Any

from limner.container.places import (
    DTYPES,
    MAX_DIMENSIONS,
    MAX_TENSORS,
    Contents,
    Place,
    Refused,
    check_name,
    contiguous,
    readable,
)

MAX_HEADER_BYTES = 16 * 2**20  # the container allows 100 MB: enough to exhaust memory with entries of a few bytes each
MAX_PARTS = 600_000  # of the header: texts, and brackets and commas around them; a tensor has about 17
MAX_NUMBER = 2**63  # of what counts elements or bytes
METADATA = "__metadata__"
_DAMAGED = "has a damaged safetensors header: "
_PART = re.compile(rb'[\[{,]|"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)  # a text without an end is one too: linear


def read(stream: io.FileIO, size: int) -> Contents:
    """The places of a file's tensors. Raises Refused if it is no safetensors file, or its header is wrong in any way.

    Every byte behind the header belongs to exactly one tensor, as the container's owner has it.
    """
    stream.seek(0)
    length = int.from_bytes(stream.read(8), "little")
    if not 2 <= length <= size - 8:
        raise Refused("is neither a safetensors file nor one of torch.save, or its end is missing")
    if length > MAX_HEADER_BYTES:
        raise Refused(f"declares a header of {length:,} bytes, which no model needs", "do not trust it")
    entries = _parse(stream.read(length))
    metadata = _metadata(entries.pop(METADATA, {}))
    if len(entries) > MAX_TENSORS:
        raise Refused(f"declares {len(entries):,} tensors, which no model needs", "do not trust it")
    ends: list[tuple[int, int, str]] = []
    places = {}
    for name, entry in entries.items():
        places[name], begin, end = _place(check_name(name), entry, 8 + length)
        ends.append((begin, end, name))
    _check_cover(sorted(ends), size - 8 - length)
    return Contents(places, metadata, data_start=8 + length)


def _parse(data: bytes) -> dict[str, Any]:
    if next(islice(_PART.finditer(data), MAX_PARTS, None), None):
        raise Refused("declares more than any model has", "do not trust it")
    try:
        entries = json.loads(data.decode(), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise Refused("is not a safetensors file: its header is not JSON") from error
    if not isinstance(entries, dict):
        raise Refused(f"{_DAMAGED}it is no table of tensors")
    return entries


def _metadata(entries: object) -> dict[str, str]:
    if not isinstance(entries, dict) or not all(isinstance(text, str) for text in entries.values()):
        raise Refused(f"{_DAMAGED}its metadata are not texts")
    try:
        for item in entries.items():
            "".join(item).encode()
    except UnicodeEncodeError as error:  # half of a surrogate pair, which cannot be written anywhere
        raise Refused(f"{_DAMAGED}its metadata are not texts") from error
    return entries


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        twice, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise Refused(f"declares {readable(twice)} twice, so that programs would disagree on it", "do not trust it")
    return entries


def _place(name: str, entry: object, data_start: int) -> tuple[Place, int, int]:
    """A tensor's place, and its first byte and the one behind its last, counted from the header's end."""
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise Refused(f"{_DAMAGED}{name} lacks a dtype, a shape or its place")
    dtype = DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise Refused(
            f"holds {name} in a dtype that Limner does not know, {readable(str(entry['dtype']))}",
            "convert it to F16, BF16 or F32",
        )
    shape, offsets = entry["shape"], entry["data_offsets"]
    if not _are_counts(shape) or len(shape) > MAX_DIMENSIONS or not _are_counts(offsets) or len(offsets) != 2:
        raise Refused(f"{_DAMAGED}the shape or place of {name} is not made of whole numbers")
    begin, end = offsets
    if end - begin != math.prod(shape) * dtype.itemsize:
        raise Refused(f"{_DAMAGED}{name} has another size than its shape says")
    return Place(dtype, tuple(shape), contiguous(tuple(shape)), data_start + begin), begin, end


def _are_counts(numbers: object) -> bool:
    return isinstance(numbers, list) and all(type(number) is int and 0 <= number < MAX_NUMBER for number in numbers)


def _check_cover(ends: list[tuple[int, int, str]], size: int) -> None:
    """Raise Refused unless the tensors, in the order of their places, lie one behind the other up to the file's end."""
    at = 0
    for begin, end, name in ends:
        if begin != at:
            reason = "shares bytes with another tensor" if begin < at else "has a gap in front of it"
            raise Refused(f"{_DAMAGED}{name} {reason}", "do not trust it")
        at = end
    if at > size:
        raise Refused("is cut short: its last tensors are missing")
    if at < size:
        raise Refused(f"has {size - at:,} bytes behind its last tensor that belong to none", "do not trust it")
