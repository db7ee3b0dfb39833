"""Many pictures: the same result whatever the number of workers, and whatever stopped the one that began."""

import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from preparation.pictures import contents, photo, photos

import limner
from limner.config import PrepareSettings
from limner.events import Prepared
from limner.preparation.prepare import preparing

RESOLUTION = 128


def messy(folder: Path, count: int) -> Path:
    """Pictures of which some are the same, some broken, some with captions and masks."""
    photos(folder, count)
    for index in range(0, count, 5):
        photo(index).convert("L").save(folder / f"IMG_{index}.mask.png")
    for index in range(0, count, 4):
        (folder / f"IMG_{index}.txt").write_text(f"picture number {index}")
    (folder / "later").mkdir()
    photo(1).save(folder / "later" / "IMG_1.jpg", quality=90)
    (folder / "later" / "broken.png").write_bytes(b"\x89PNG")
    return folder


def test_the_number_of_workers_changes_nothing(tmp_path: Path) -> None:
    images = messy(tmp_path / "photos", 10)
    sets = []
    for workers in (1, 2, 3):
        out = tmp_path / f"out{workers}"
        made = limner.prepare(images, out, resolution=RESOLUTION, workers=workers, keyword="zqvx", captioner="pixels")
        assert 0 < made.kept < made.pictures
        sets.append(contents(out))
    assert sets[0] == sets[1] == sets[2]


COMMAND = """
import sys
from limner.cli import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
"""


def test_it_goes_on_where_it_was_stopped(tmp_path: Path) -> None:
    images = messy(tmp_path / "photos", 10)
    arguments = {"resolution": RESOLUTION, "workers": 1, "keyword": "zqvx"}
    limner.prepare(images, tmp_path / "whole", **arguments)
    for number, (what, done) in enumerate({"looking at pictures": 4, "writing pictures": 4, "captions": 4}.items()):
        out = tmp_path / f"stopped{number}"
        settings = PrepareSettings.read({"images": images, "out": out} | arguments, "the test")
        with closing(preparing(settings)) as events:
            next(each for each in events if isinstance(each, Prepared) and each.what == what and each.done >= done)
        there = {path: path.stat().st_mtime_ns for path in (out / "images").glob("[0-9]*")}
        assert bool(there) == (what != "looking at pictures")
        made = limner.prepare(images, out, **arguments)
        assert made.written == made.kept - sum(path.suffix == ".png" for path in there)
        assert {path: path.stat().st_mtime_ns for path in there} == there
        assert contents(out) == contents(tmp_path / "whole")


@pytest.mark.slow
@pytest.mark.parametrize("until", ["looking", "writing", "captions"])
def test_it_goes_on_after_a_kill(until: str, tmp_path: Path) -> None:
    images = messy(tmp_path / "photos", 12)
    arguments = [str(images), "", "--resolution", str(RESOLUTION), "--keyword", "zqvx", "--workers", "2"]
    program = tmp_path / "limner_command.py"
    program.write_text(COMMAND)

    def start(out: Path) -> subprocess.Popen:
        arguments[1] = str(out)
        return subprocess.Popen([sys.executable, str(program), "prepare", *arguments], stderr=subprocess.PIPE)

    def reached(out: Path) -> bool:
        if until == "looking":
            facts = out / ".limner" / "facts" / "facts.jsonl"
            return facts.exists() and facts.stat().st_size > 500
        ending = ".png" if until == "writing" else ".txt"
        return (out / "images").exists() and sum(each.suffix == ending for each in (out / "images").iterdir()) >= 2

    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(whole).wait(120) == 0
    process = start(killed)
    while process.poll() is None and not reached(killed):
        time.sleep(0.002)
    assert process.poll() is None, "it was over before it could be killed"
    process.send_signal(signal.SIGKILL)
    process.wait()
    written = {path: path.stat().st_mtime_ns for path in (killed / "images").glob("[0-9]*.png")}
    for path in written:
        assert path.read_bytes() == (whole / "images" / path.name).read_bytes()
    assert start(killed).wait(120) == 0
    assert contents(killed) == contents(whole)
    assert not [path for path in killed.rglob(".*") if path.is_file() and path.name not in (".lock",)]
