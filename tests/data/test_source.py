"""Where pictures come from: the same from a folder and from a zip of it, without what only looks like a picture."""

import zipfile
from pathlib import Path

import pytest

from limner.data.decode import Unusable
from limner.data.source import Source, find_sources
from limner.data.tree import left_out
from limner.errors import UserError

FILES = {
    "b.jpg": True,
    "a.PNG": True,
    "notes.txt": False,
    ".hidden.png": False,
    "b.mask.png": False,  # the mask of b.jpg
    "b-masklabel.png": False,
    "alone-masklabel.png": True,  # of nothing: load_folder says what is wrong with it
    "masks/b.png": False,  # all in it are masks of pictures above
    "masks/a.png": False,
    "trip/phone.heic": True,  # not read, but taken for a picture: it is named
    "trip/deep/c.webp": True,
    "carnival/d.png": True,
    "carnival/masks/venice.jpg": True,  # masks that are pictures
    "__MACOSX/b.jpg": False,
    ".thumbs/b.jpg": False,
}


def folder_of(root: Path, names: dict[str, bool]) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(name.encode())
    return root


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in sorted(folder.rglob("*"), reverse=True):
            archive.write(each, str(each.relative_to(folder)))
    return path


def test_what_is_a_picture_in_folders_and_zips(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", FILES)
    wanted = sorted(name for name, is_wanted in FILES.items() if is_wanted)
    of_folder, of_zip = list(find_sources(folder)), list(find_sources(zipped(folder)))
    assert sorted(each.name for each in of_folder) == wanted
    assert sorted(each.name for each in of_zip) == wanted
    for source in [*of_folder, *of_zip]:
        assert source.read() == source.name.encode()
        assert source.beside(".txt", 100) is None


def test_what_lies_beside(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "photos", {"in/a.b.jpg": True, "in/a.b.txt": False})
    for images in (folder, zipped(folder)):
        [source] = find_sources(images)
        assert source.beside(".txt", 100) == b"in/a.b.txt"
        with pytest.raises(Unusable, match=r"a\.b\.txt of more than|larger than"):
            source.beside(".txt", 3)


def test_a_zip_is_read_anew_when_it_changed(tmp_path: Path) -> None:
    path = zipped(folder_of(tmp_path / "photos", {"a.jpg": True}))
    [source] = find_sources(path)
    assert source.read() == b"a.jpg"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.jpg", b"something else")
    assert source.read() == b"something else"


def test_names_that_lead_out_of_a_zip_are_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("../up.png", "/root.png", "in/../../up.png", "..\\up.png", "back\\slash.png", "good.png"):
            archive.writestr(name, name.encode())
    sources = list(find_sources(path))
    assert [each.name for each in sources] == ["back/slash.png", "good.png"]
    assert sources[0].read() == b"back\\slash.png"
    (said,) = left_out(path)
    assert "4 of 6 files are not used (../up.png, ../up.png" in said or "their names lead out of the zip" in said


def test_a_member_that_grows_too_much(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10_000_000))
    with pytest.raises(Unusable, match="packed so tightly"):
        next(find_sources(path)).read()


def test_what_is_neither_folder_nor_zip(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        find_sources(tmp_path / "nothing")
    (tmp_path / "file").write_text("text")
    with pytest.raises(UserError, match="neither a folder nor a zip"):
        find_sources(tmp_path / "file")


def test_a_picture_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(Unusable, match="not a regular file"):
        Source(tmp_path, "gone.png").read()
