"""Pickles made to do harm: none is run, and each is refused in one sentence, with little memory and at once."""

import io
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hostile import name, number, numbers, program, refused, storage, tensor, text, zipped
from test_safetensors import HEADERS

from limner.container.header import read_tensors
from limner.container.places import MAX_TENSORS
from limner.container.program import MAX_BYTES

HARM = Path("ran")  # what a file would write if it were run


def test_the_hand_made_file_is_one_that_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(zipped(program(text("a"), tensor(storage()))))
    assert torch.equal(torch.load(path)["a"], torch.zeros(4))
    assert torch.equal(read_tensors(path)["a"], torch.zeros(4))


class Evil:
    def __init__(self, call: Callable[..., Any], *arguments: Any) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple:
        return self.call, self.arguments


def test_nothing_is_run_or_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("trap.py").write_text(f"open({str(HARM)!r}, 'w').close()\nclass Trap: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    programs = {
        "posix.system": pickle.dumps({"a": Evil(os.system, f"touch {HARM}")}, 2),
        "builtins.exec": pickle.dumps({"a": Evil(exec, f"open({str(HARM)!r}, 'w')")}, 4),
        "builtins.eval": pickle.dumps({"a": Evil(eval, f"open({str(HARM)!r}, 'w')")}, 3),
        "subprocess.call": program(text("a"), name("subprocess", "call") + numbers(1) + pickle.REDUCE),
        "trap.Trap": program(text("a"), name("trap", "Trap")),
        "torch.serialization.load": program(text("a"), name("torch.serialization", "load")),
        "torch.load": program(text("a"), name("torch", "load")),
        "torch.storage._load_from_bytes": program(text("a"), name("torch.storage", "_load_from_bytes")),
        "torch.jit._script.load": program(text("a"), name("torch.jit._script", "load")),
        "builtins.bytearray": program(text("a"), name("builtins", "bytearray") + numbers(2**40) + pickle.REDUCE),
        "collections.OrderedDict.fromkeys": program(text("a"), name("collections", "OrderedDict.fromkeys")),
        "numpy.core._internal.sys.modules": program(text("a"), name("numpy", "core._internal.sys.modules")),
        "pytorch_lightning.callbacks.model_checkpoint.os.system": program(
            text("a"), name("pytorch_lightning.callbacks.model_checkpoint", "os.system")
        ),
    }
    for asked, data in programs.items():
        asked = asked.replace("builtins.e", "__builtin__.e") if data[1] == 2 else asked
        assert refused(tmp_path / "x.ckpt", zipped(data)).startswith(f"asks for {asked}, which is no tensor")
        legacy = io.BytesIO()
        torch.save({}, legacy, _use_new_zipfile_serialization=False)
        start = legacy.getvalue().index(b"\x80\x02}q\x00.")  # the empty dictionary's program
        assert f"asks for {asked}," in refused(tmp_path / "x.ckpt", legacy.getvalue()[:start] + data)
        refused(tmp_path / "x.ckpt", data)  # a pickle alone, not in a file of torch's
    assert not HARM.exists()


def test_what_stands_for_an_allowed_name_cannot_be_changed(tmp_path: Path) -> None:
    """Python's unpickler lets a program set the defaults of a function that it was given."""
    state = pickle.NONE + pickle.EMPTY_DICT + pickle.TUPLE2
    for pair in (("collections", "OrderedDict"), ("torch._utils", "_rebuild_tensor_v2"), ("torch", "FloatStorage")):
        assert "damaged pickle" in refused(
            tmp_path / "x.pt", zipped(program(text("a"), name(*pair) + state + pickle.BUILD))
        )
    assert "damaged pickle" in refused(
        tmp_path / "x.pt", zipped(program(text("a"), name("torch", "FloatStorage") + numbers() + pickle.REDUCE))
    )


GOOD = tensor(storage())
HUGE = 2**62
LYING = {
    "beyond its storage": (program(text("a"), tensor(storage(), shape=(5,))), "5 elements in 16 bytes"),
    "beyond by its offset": (program(text("a"), tensor(storage(), offset=1)), "5 elements in 16 bytes"),
    "beyond by its stride": (program(text("a"), tensor(storage(), stride=(2,))), "7 elements in 16 bytes"),
    "negative offset": (program(text("a"), tensor(storage(), offset=-1)), "damaged pickle"),
    "negative stride": (program(text("a"), tensor(storage(), stride=(-1,))), "damaged pickle"),
    "negative shape": (program(text("a"), tensor(storage(), shape=(-4,))), "damaged pickle"),
    "huge shape": (program(text("a"), tensor(storage(), shape=(HUGE, HUGE), stride=(1, 1))), "elements in 16 bytes"),
    "huge, of one number": (program(text("a"), tensor(storage(), shape=(HUGE,), stride=(0,))), "bytes of tensors in a"),
    "many dimensions": (program(text("a"), tensor(storage(), shape=(1,) * 99, stride=(1,) * 99)), "damaged pickle"),
    "stride of another length": (program(text("a"), tensor(storage(), shape=(2, 2))), "damaged pickle"),
    "larger storage": (program(text("a"), tensor(storage(length=5))), "their bytes are missing"),
    "huge storage": (program(text("a"), tensor(storage(length=HUGE))), "their bytes are missing"),
    "negative storage": (program(text("a"), tensor(storage(length=-1))), "damaged pickle"),
    "missing storage": (program(text("a"), tensor(storage(key="7"))), "their bytes are missing"),
    "another member": (program(text("a"), tensor(storage(key="../data.pkl"))), "their bytes are missing"),
    "storage of no kind": (program(text("a"), tensor(storage(kind="float32"))), "damaged pickle"),
    "a list for a storage": (program(text("a"), tensor(pickle.EMPTY_LIST)), "damaged pickle"),
    "the same name twice": (
        program(text("a.b"), GOOD, text("a"), pickle.EMPTY_DICT + text("b") + GOOD + pickle.SETITEM),
        "holds a.b twice",
    ),
    "a name for terminals": (program(text("a\x1b[2J"), GOOD), "no plain text"),
    "a name without end": (program(text("a" * 301), GOOD), "no plain text"),
    "a huge number": (program(text("a"), pickle.LONG1 + b"\xff" + b"\x7f" * 255), "more digits"),
    "a list as a key": (program(pickle.EMPTY_LIST, GOOD), "damaged pickle"),
    "keys of equal hashes": (program(*(number(i * (2**61 - 1)) + GOOD for i in range(2, 9))), "damaged pickle"),
    "itself": (
        b"\x80\x02}q\x00" + text("a") + b"h\x00s" + text("b") + GOOD + b"s.",
        "deeper than any model",
    ),
    "no end": (b"\x80\x02}", "damaged pickle"),
    "no value": (b"\x80\x02.", "damaged pickle"),
    "an unknown instruction": (b"\x80\x02\xff.", "of a kind that Limner does not read"),
    "extensions": (b"\x80\x02\x82\x01.", "of a kind that Limner does not read"),
    "not UTF-8": (b"\x80\x02X\x02\0\0\0\xff\xff.", "damaged pickle"),
    "a text without end": (b"\x80\x02X\xff\xff\xff\xff", "end is missing"),
}


@pytest.mark.parametrize("lie", LYING)
def test_a_pickle_that_lies_is_refused(tmp_path: Path, lie: str) -> None:
    data, said = LYING[lie]
    assert said in refused(tmp_path / "x.pt", zipped(data))


def test_small_tensors_that_lie_far_apart_are_not_read_over_and_over(tmp_path: Path) -> None:
    length = 2**18
    far = tensor(storage(length=length), shape=(2,), stride=(length - 1,))
    (tmp_path / "x.pt").write_bytes(zipped(program(text("a"), far), data_0=bytes(4 * length)))
    assert read_tensors(tmp_path / "x.pt")["a"].tolist() == [0.0, 0.0]
    often = program(*(text(f"{n}") + far for n in range(100)))
    assert "bytes of tensors in a" in refused(tmp_path / "x.pt", zipped(often, data_0=bytes(4 * length)))


def many(unit: bytes, count: int, before: bytes = b"", after: bytes = b".") -> bytes:
    return b"\x80\x02" + before + unit * count + after


def nested() -> bytes:
    """50 names for a dictionary of 50 names for a dictionary, and so on: 50 to the ninth ways down."""
    levels = b""
    for level in range(9):
        inner = b"h" + bytes([level - 1]) if level else b"N"
        items = b"".join(text(f"{key}") + inner for key in range(50))
        levels += b"}q" + bytes([level]) + b"(" + items + b"u"
    return b"\x80\x02" + levels + b"."


SET, ENCODE = b"c__builtin__\nset\nq\x00", b"c_codecs\nencode\nq\x00"
LONG_LIST, LONG_TEXT = b"](" + b"N" * 10**5 + b"eq\x01", text("a" * 10**6) + b"q\x01" + text("latin1") + b"q\x02"
BOMBS = {
    "dictionaries": many(b"}", MAX_BYTES - 100),
    "a deep tuple": many(b"\x85", 10**6, b")"),
    "a deep tuple as a key": many(b"\x85", 900_000, b"})", b"Ns."),
    "notes": many(b"\x94", 10**6, b"N"),
    "copies of a list": many(b"h\x00h\x01\x85R0", 10**5, SET + LONG_LIST),
    "copies of a text": many(b"h\x00h\x01h\x02\x86R0", 10**5, ENCODE + LONG_TEXT),
    "dictionaries of dictionaries": nested(),
    "tensors": program(*(text(f"{at}") + (b"h\xff" if at else GOOD + b"q\xff") for at in range(MAX_TENSORS + 1))),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_pickle_that_grows_is_stopped(tmp_path: Path, bomb: str) -> None:
    refused(tmp_path / "x.pt", zipped(BOMBS[bomb]))


def with_member(**members: bytes) -> bytes:
    return zipped(program(text("a"), GOOD), **members)


def changed(data: bytes, at: int, *numbers: int) -> bytes:
    return data[:at] + bytes(numbers) + data[at + len(numbers) :]


def overlapping() -> bytes:
    """`data/1` has the bytes of `data/0`, by the archive's directory."""
    data = with_member(data_1=b"\0" * 16)
    first, second = (data.rindex(f"x/data/{n}".encode()) - 46 for n in (0, 1))
    return data[: second + 42] + data[first + 42 : first + 46] + data[second + 46 :]


def twice() -> bytes:
    return with_member(data_9=b"\1" * 16).replace(b"x/data/9", b"x/data/0")


ARCHIVES = {
    "compressed": (zipped(program(text("a"), GOOD), method=zipfile.ZIP_DEFLATED), "a compressed"),
    "a bomb": (zipped(b"\0" * MAX_BYTES, method=zipfile.ZIP_DEFLATED), "a compressed data.pkl"),
    "a large program": (zipped(b"\0" * (MAX_BYTES + 1)), "which no model needs"),
    "code": (with_member(code_main=b"print()"), "with x/code/main in it"),
    "constants": (with_member(**{"constants.pkl": b""}), "with x/constants.pkl in it"),
    "upwards": (with_member(**{".._.._data_1": b""}), "with x/../../data/1 in it"),
    "escapes": (with_member(**{"\x1b[2J": b""}), "with x/?[2J in it"),
    "twice": (twice(), "holds data/0 twice"),
    "two folders": (with_member(data_1=b"").replace(b"x/data/1", b"y/data/1"), "holds data/1 twice"),
    "overlapping": (overlapping(), "overlap"),
    "another order": (with_member(byteorder=b"big"), "byte order of other machines"),
    "cut short": (with_member()[:-30], "damaged zip"),
    "no program": (b"PK\x03\x04" + bytes(100), "damaged zip"),
    "another archive": (with_member().replace(b"data.pkl", b"data/pkl"), "with x/data/pkl in it"),
}


@pytest.mark.parametrize("sort", ARCHIVES)
def test_an_archive_that_is_not_torchs_is_refused(tmp_path: Path, sort: str) -> None:
    data, said = ARCHIVES[sort]
    assert said in refused(tmp_path / "x.pt", data)


def test_an_archive_of_too_many_parts_is_refused(tmp_path: Path) -> None:
    many_members = {f"data_{i}": b"" for i in range(70_000)}
    assert "more parts than any model" in refused(tmp_path / "x.pt", with_member(**many_members))


def test_legacy_files_that_lie_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    torch.save({"a": torch.ones(4)}, buffer, _use_new_zipfile_serialization=False)
    good = buffer.getvalue()
    path = tmp_path / "x.pt"
    assert "their bytes are missing" in refused(path, good[:-1])
    assert "two sizes" in refused(path, good[:-24] + struct.pack("<Q", 5) + good[-16:])
    assert "two sizes" in refused(path, good[:-24] + struct.pack("<Q", 2**62) + good[-16:])
    key = good[good.rindex(b"X") + 5 : good.rindex(b"q\x01a.")]
    assert "does not bring" in refused(
        path, good[: good.rindex(key)] + b"7" * len(key) + good[good.rindex(key) + len(key) :]
    )
    assert "byte order" in refused(path, good.replace(b"little_endianq\x02\x88", b"little_endianq\x02\x89"))
    assert "none of torch.save" in refused(path, good.replace(b"M\xe9\x03.", b"M\xe8\x03.", 1))


def test_little_memory_is_taken(tmp_path: Path) -> None:
    """With 300 MB of addresses to spare: files of 16 MB that would be gigabytes as Python's objects."""
    bombs = BOMBS | {sort: data for sort, (data, _) in (ARCHIVES | HEADERS).items() if len(data) > 10**6}
    for at, data in enumerate(bombs.values()):
        (tmp_path / f"{at}").write_bytes(data if data[:1] != b"\x80" else zipped(data))
    script = (
        "import resource, sys; from pathlib import Path; from limner.container import open_tensors\n"
        "from limner.errors import UserError\n"
        "used = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + 300 * 2**20,) * 2)\n"
        "for path in Path(sys.argv[1]).iterdir():\n"
        "    try:\n"
        "        with open_tensors(path): print(path, 'was opened')\n"
        "    except UserError: pass\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
