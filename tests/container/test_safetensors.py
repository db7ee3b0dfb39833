"""safetensors files that lie in their headers are refused in one sentence; every dtype that there is is read."""

import json
from pathlib import Path

import pytest
import torch
from hostile import entry, refused, safetensors
from safetensors.torch import load, save

from limner.container import open_tensors
from limner.container.header import raw_bytes
from limner.container.places import DTYPE_NAMES, DTYPES, MAX_TENSORS
from limner.container.safetensors import MAX_HEADER_BYTES

HEADERS: dict[str, tuple[bytes, str]] = {
    "overlapping": (safetensors({"a": entry(0, 8), "b": entry(4, 12)}, bytes(12)), "b shares bytes"),
    "the same bytes": (safetensors({"a": entry(0, 8), "b": entry(0, 8)}, bytes(8)), "b shares bytes"),
    "a gap": (safetensors({"a": entry(0, 4), "b": entry(8, 12)}, bytes(12)), "a gap"),
    "a gap at the start": (safetensors({"a": entry(4, 8)}, bytes(8)), "a gap"),
    "bytes behind": (safetensors({"a": entry(0, 4)}, bytes(8)), "4 bytes behind"),
    "cut short": (safetensors({"a": entry(0, 8)}, bytes(7)), "cut short"),
    "beyond the end": (safetensors({"a": entry(0, 2**40)}, bytes(8)), "cut short"),
    "backwards": (safetensors({"a": entry(8, 4, shape=[1])}, bytes(8)), "another size"),
    "another size": (safetensors({"a": entry(0, 8, shape=[3])}, bytes(8)), "another size"),
    "a product that overflows": (safetensors({"a": entry(0, 0, shape=[2**32, 2**32])}), "another size"),
    "negative": (safetensors({"a": entry(0, 8, shape=[-1, -2])}, bytes(8)), "whole numbers"),
    "fractions": (safetensors({"a": entry(0, 8, shape=[2.0])}, bytes(8)), "whole numbers"),
    "truth": (safetensors({"a": entry(0, 4, shape=[True])}, bytes(4)), "whole numbers"),
    "huge numbers": (safetensors({"a": entry(0, 8, shape=[10**30])}, bytes(8)), "whole numbers"),
    "endless numbers": (safetensors(b'{"a":' + b"9" * 10_000 + b"}"), "not JSON"),
    "many dimensions": (safetensors({"a": entry(0, 4, shape=[1] * 17)}, bytes(4)), "whole numbers"),
    "an unknown dtype": (safetensors({"a": entry(0, 8, dtype="F4")}, bytes(8)), "does not know, F4"),
    "no dtype": (safetensors({"a": entry(0, 8, dtype=["F32"])}, bytes(8)), "does not know"),
    "more in an entry": (safetensors({"a": entry(0, 8) | {"code": "x"}}, bytes(8)), "lacks"),
    "twice": (safetensors(b'{"a":{},"a":{}}'), "declares a twice"),
    "twice in metadata": (safetensors(b'{"__metadata__":{"k":"1","k":"2"}}'), "declares k twice"),
    "metadata of numbers": (safetensors({"__metadata__": {"k": 1}}), "not texts"),
    "metadata of lists": (safetensors({"__metadata__": ["k"]}), "not texts"),
    "half a pair": (safetensors(b'{"__metadata__":{"k":"\\ud800"}}'), "not texts"),
    "half a pair in a name": (safetensors(b'{"\\ud800":{}}'), "no plain text"),
    "UTF-16": (safetensors(json.dumps({"a": entry(0, 4)}).encode("utf-16"), bytes(4)), "not JSON"),
    "a name for terminals": (safetensors({"a\x1b[2J": entry(0, 4)}, bytes(4)), "no plain text"),
    "deep": (safetensors(b"[" * 100_000), "not JSON"),
    "deep dictionaries": (safetensors(b'{"a":' * 100_000), "not JSON"),
    "brackets": (safetensors(b'{"a":[' + b"[]," * 500_000 + b"[]]}"), "more than any model"),
    "tensors": (safetensors({f"{i}": entry(0, 0, [0]) for i in range(MAX_TENSORS + 1)}), "20,001 tensors"),
    "a large header": (safetensors(b"{" + b" " * MAX_HEADER_BYTES + b"}"), "which no model needs"),
}  # fmt: skip


@pytest.mark.parametrize("lie", HEADERS)
def test_a_header_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    data, said = HEADERS[lie]
    assert said in refused(tmp_path / "x.safetensors", data)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=DTYPES)
def test_every_dtype_of_the_container_is_read(tmp_path: Path, dtype: torch.dtype) -> None:
    """As the library writes it, but for one that it does not write yet."""
    numbers = torch.arange(6).reshape(2, 3).to(torch.uint8 if dtype == torch.float8_e8m0fnu else dtype)
    name, path = DTYPE_NAMES[dtype], tmp_path / "x.safetensors"
    path.write_bytes(safetensors({"a": entry(0, numbers.nbytes, [2, 3], name)}, raw_bytes(numbers)))
    if dtype != torch.float8_e8m0fnu:
        assert torch.equal(load(save({"a": numbers}))["a"], numbers)
        path.write_bytes(save({"a": numbers}))
    with open_tensors(path) as file:
        assert file.dtypes == {"a": dtype}
        assert raw_bytes(file.get("a")) == raw_bytes(numbers)
