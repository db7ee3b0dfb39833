"""Files on their way to their names: nothing is replaced unasked, and what dead processes left is removed."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from limner import temporary
from limner.errors import UserError
from limner.files import (
    atomic_path,
    free_names,
    lies_in,
    locked,
    new_file,
    new_folder,
    require_not_read,
    require_own_folder,
    require_writable,
    unchanged,
)

POSIX = pytest.mark.skipif(os.name != "posix", reason="links and signals")
HELD = """
import sys, time
from pathlib import Path
from limner.files import new_file, new_folder
target = Path(sys.argv[1])
if target.suffix:
    with new_file(target) as new:
        new.temporary.write_bytes(b"half")
        print("writing", flush=True)
        time.sleep(120)
with new_folder(target, overwrite=True) as new:
    new.temporary.mkdir()
    (new.temporary / "half").write_bytes(b"half")
    print("writing", flush=True)
    time.sleep(120)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def writing(tmp_path: Path) -> Iterator[subprocess.Popen]:
    """A process that is writing tmp_path/out.bin."""
    yield from _process(tmp_path / "out.bin")


@pytest.fixture
def writing_folder(tmp_path: Path) -> Iterator[subprocess.Popen]:
    yield from _process(tmp_path / "out")


def _process(target: Path) -> Iterator[subprocess.Popen]:
    process = subprocess.Popen([sys.executable, "-c", HELD, str(target)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "writing\n"
    yield process
    process.kill()
    process.communicate()


@POSIX
def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_there(
    tmp_path: Path, writing: subprocess.Popen
) -> None:
    (left,) = names(tmp_path)
    assert re.fullmatch(r"\.out\.limner-[0-9a-f]{6}-[0-9a-f]{8}\.bin", left)
    assert temporary.clear(tmp_path, always=True) == []  # it lives
    writing.send_signal(signal.SIGSTOP)
    assert temporary.clear(tmp_path, always=True) == []  # and a stopped one too
    writing.kill()
    writing.wait()
    (tmp_path / ".out.limner.bin").write_bytes(b"another program's")
    temporary._looked.clear()
    with atomic_path(tmp_path / "other.txt") as path:
        path.write_text("whole")
    assert names(tmp_path) == [".out.limner.bin", "other.txt"]


@POSIX
def test_an_unfinished_folder_too(tmp_path: Path, writing_folder: subprocess.Popen) -> None:
    assert len(names(tmp_path)) == 1
    assert temporary.clear(tmp_path, always=True) == []
    writing_folder.kill()
    writing_folder.wait()
    ((path, size),) = temporary.clear(tmp_path, always=True)
    assert (size, names(tmp_path)) == (4, [])
    assert path.parent == tmp_path


@POSIX
def test_what_stood_there_before_comes_back_if_the_new_one_did_not_come_that_far(tmp_path: Path) -> None:
    place = tmp_path / f".model.limner-{temporary._machine()}-00000000"
    (place / "before" / "model").mkdir(parents=True)
    (place / "before" / "model" / "weights").write_text("precious")
    (place / ".lock").touch()
    temporary.clear(tmp_path, always=True)
    assert names(tmp_path) == ["model"]
    assert (tmp_path / "model" / "weights").read_text() == "precious"


def test_another_machines_are_left_alone_until_nobody_has_touched_them_for_a_day(tmp_path: Path) -> None:
    other = "0" * 6 if temporary._machine() != "0" * 6 else "1" * 6
    path = tmp_path / f".out.limner-{other}-00000000.bin"
    path.write_bytes(b"half")
    assert temporary.clear(tmp_path, always=True) == []
    old = time.time() - 2 * 24 * 3600
    os.utime(path, (old, old))
    assert temporary.clear(tmp_path, always=True) == [(path, 4)]


@pytest.mark.parametrize(
    "name", ["x" * 251 + ".bin", "ä" * 125 + ".bin", "日" * 83 + ".txt", "a." + "b" * 240, "狐" * 85]
)
def test_names_may_be_as_long_as_names_can_be(tmp_path: Path, name: str) -> None:
    require_writable(tmp_path / name)
    for _ in range(2):
        with new_file(tmp_path / name) as new:
            assert len(os.fsencode(new.temporary.name)) < 144
            new.temporary.write_text("whole")
    assert new.path != tmp_path / name
    assert len(names(tmp_path)) == 2
    assert all(len(os.fsencode(each)) <= 255 for each in names(tmp_path))


def test_a_name_too_long_is_a_sentence_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="its name is longer than 255 bytes"):
        require_writable(tmp_path / ("x" * 256))


@pytest.mark.parametrize("is_link", [False, True])
def test_a_name_taken_meanwhile_is_left_alone_and_the_result_gets_the_next(tmp_path: Path, is_link: bool) -> None:
    target = tmp_path / "out.bin"
    (tmp_path / "out-2.bin").write_text("another")
    with new_file(target) as new:
        new.temporary.write_text("result")
        if is_link:
            target.symlink_to(tmp_path / "nowhere")
        else:
            target.write_text("theirs")
    assert new.path == tmp_path / "out-3.bin"
    assert new.path.read_text() == "result"
    assert target.is_symlink() if is_link else target.read_text() == "theirs"
    assert len(names(tmp_path)) == 3


def test_without_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on FAT, and on some shared disks."""

    def refused(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    for _ in range(2):
        with new_file(tmp_path / "out.bin") as new:
            new.temporary.write_text("result")
    assert names(tmp_path) == ["out-2.bin", "out.bin"]


def test_what_may_be_replaced(tmp_path: Path) -> None:
    target = tmp_path / "out.bin"
    target.write_text("ours")
    with new_file(target, is_ours=lambda path: path.read_text() == "ours") as new:
        new.temporary.write_text("theirs")
    with new_file(target, overwrite=True) as new:
        new.temporary.write_text("newer")
    assert target.read_text() == "newer"
    target.unlink()
    with new_file(target, overwrite=True) as new:
        new.temporary.write_text("result")
        target.mkdir()  # no file: nothing takes its place, and nothing is lost
    assert (new.path.name, new.path.read_text()) == ("out-2.bin", "result")


def test_files_that_come_along_must_have_free_names_too(tmp_path: Path) -> None:
    (tmp_path / "out.yaml").write_text("theirs")
    with new_file(tmp_path / "out.bin", beside=[".yaml"]) as new:
        new.temporary.write_text("result")
    assert new.path.name == "out-2.bin"


def test_folders_likewise(tmp_path: Path) -> None:
    target = tmp_path / "model"
    with new_folder(target) as new:
        new.temporary.mkdir()
        (new.temporary / "weights").write_text("result")
        target.mkdir()
    assert (new.path.name, names(new.path)) == ("model-2", ["weights"])
    assert names(target) == []
    with new_folder(tmp_path / "model-2", overwrite=True) as new:
        new.temporary.mkdir()
        (new.temporary / "newer").touch()
    assert names(new.path) == ["newer"]
    with pytest.raises(UserError, match="Not a directory"), new_folder(tmp_path / "model-2", overwrite=True) as new:
        _fail(new.temporary)
    assert names(tmp_path) == ["model", "model-2"]
    assert names(tmp_path / "model-2") == ["newer"]


def _fail(temporary: Path) -> None:
    temporary.touch()
    (temporary / "weights").touch()


@POSIX
def test_inputs_are_known_by_any_path(tmp_path: Path) -> None:
    folder, file = tmp_path / "model", tmp_path / "model" / "unet" / "weights.bin"
    file.parent.mkdir(parents=True)
    file.write_bytes(b"")
    os.link(file, tmp_path / "hard.bin")
    (tmp_path / "soft.bin").symlink_to(file)
    (tmp_path / "way").symlink_to(folder)
    for out in (file, tmp_path / "hard.bin", tmp_path / "soft.bin", folder / ".." / "model" / "unet" / "weights.bin"):
        with pytest.raises(UserError, match="is what is to be read"):
            require_not_read(out, [file])
    with pytest.raises(UserError, match=r"lies in .*model, which is to be read"):
        require_not_read(tmp_path / "way" / "unet" / "weights.bin", [folder])
    with pytest.raises(UserError, match=r"holds .*weights\.bin, which is to be read"):
        require_not_read(tmp_path / "way", [file])
    require_not_read(folder / "unet" / "new.bin", [folder])
    assert lies_in(tmp_path / "way" / "new", folder)


def test_what_is_changed_while_it_is_read_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "base.bin"
    file.write_bytes(b"one")
    with unchanged(file):
        file.read_bytes()
    with pytest.raises(UserError, match="was changed while it was being read"), unchanged(file):
        file.write_bytes(b"another")


def test_whose_a_folder_is(tmp_path: Path) -> None:
    require_own_folder(tmp_path / "new", "mark")
    require_own_folder(tmp_path, "mark")
    (tmp_path / "photo.jpg").touch()
    with pytest.raises(UserError, match=r"holds files of something else \(photo\.jpg\).*--run"):
        require_own_folder(tmp_path, "mark", option="--run")
    (tmp_path / "mark").touch()
    require_own_folder(tmp_path, "mark")


def test_the_option_that_helps_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(UserError, match="choose another place with --cache"),
        atomic_path(tmp_path / "file/x", "--cache"),
    ):
        pass
    with pytest.raises(UserError, match="--cache"), locked(tmp_path / "file" / "x", option="--cache"):
        pass
    with (
        pytest.raises(UserError, match=r"make its folder writable, or choose another place$"),
        atomic_path(tmp_path / "file" / "x"),
    ):
        pass
    with pytest.raises(UserError, match="--run"):
        require_writable(tmp_path / "file" / "x", "--run")


def test_free_names(tmp_path: Path) -> None:
    found = free_names(tmp_path / "a.b.bin")
    assert [next(found).name for _ in range(3)] == ["a.b.bin", "a.b-2.bin", "a.b-3.bin"]
    shutil.rmtree(tmp_path)
