"""The small run of bench.fuzz: some thousand spoiled files and texts, the same each time, and that harm is seen."""

import subprocess
import sys
import time
from pathlib import Path
from random import Random

import pytest

from bench.fuzz.child import spoiled
from bench.fuzz.kinds import KINDS

CASES = {"safetensors": 600, "zip": 600, "legacy": 400, "prompt": 300, "infotext": 600, "png": 600}


@pytest.mark.filterwarnings("ignore::UserWarning")  # of zipfile and Pillow, about what is spoiled
@pytest.mark.parametrize("kind", KINDS)
def test_spoiled_files_and_texts_end_well_or_in_a_sentence(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for number, data in enumerate(spoiled(KINDS[kind], KINDS[kind].seeds(), CASES[kind], Random(11))):
        started = time.monotonic()
        try:
            KINDS[kind].run(data, tmp_path)
        except BaseException as error:
            Path("case").write_bytes(data)
            raise AssertionError(f"case {number} of {kind}, kept as {tmp_path / 'case'}") from error
        assert time.monotonic() - started < 5
    assert not Path("ran").exists()


def test_unspoiled_files_are_read(tmp_path: Path) -> None:
    """Or the run would see nothing but the first refusal."""
    for kind in KINDS.values():
        for data in kind.seeds():
            kind.run(data, tmp_path)


HARM = """
import os, sys, time
from pathlib import Path
from types import SimpleNamespace
from bench.fuzz import child

def run(data, folder):
    what = data.decode()
    if what == "raises": [].pop()
    if what == "starts a program": os.system("true")
    if what == "imports": import this
    if what == "unpickles": import pickle; pickle.loads(b"cos\\ngetpid\\n.")
    if what == "runs code": Path(folder, "ran").write_text("x")
    if what == "is slow": time.sleep(2)
    if what == "takes memory": bytearray(500 * 2**20)

kind = SimpleNamespace(name="x", seeds=lambda: [b"", b"good"], run=run)
child.LIMIT_SECONDS = 0.5
watch = child.Watch(kind, Path(sys.argv[1]))
child.limit_memory()
for what in ("good", "", "raises", "starts a program", "unpickles", "is slow", "takes memory", "imports",
             "runs code"):
    before = len(watch.finds)
    watch.case(what.encode())
    print(what, "->", *list(watch.finds)[before:])
"""


@pytest.mark.slow
def test_harm_of_every_kind_is_found(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", HARM, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=root)
    told = dict(line.split("->") for line in done.stdout.splitlines() if "->" in line)
    assert [what for what, found in told.items() if not found.strip()] == ["good ", " "]
    assert "os.system" in told["starts a program "]
    assert "TimeoutError" in told["is slow "]
    assert "MemoryError" in told["takes memory "]
