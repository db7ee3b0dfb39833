"""Names of any kind: what belongs to an image is found, what belongs to nothing is said, and nothing stops."""

import os
import shutil
import sys
import unicodedata
import zipfile
from pathlib import Path

import pytest
from PIL import Image

from limner.captions.own import OwnCaptions
from limner.captions.places import find_places
from limner.data.dataset import DataSet, Part, load
from limner.data.folder import load_folder
from limner.data.layout import find_dataset, left_below
from limner.data.source import find_sources
from limner.data.tree import left_out
from limner.errors import UserError

NFD = unicodedata.normalize("NFD", "é")
LONG = "x" * 251
# An image, the file with its caption.
BELONGING = {
    "cat.JPG": "CAT.TXT",
    "é.png": f"{NFD}.txt",
    f"{NFD}te.png": "éte.txt",
    "Dog.webp": "dog.Caption",
    "fox.jpg": "fox.jpg.txt",
    "bear.v2.png": "bear.v2.txt",
    f"{LONG}.png": f"{LONG}.txt",
    "new\nline.png": "new\nline.txt",
    os.fsdecode(b"caf\xe9.png"): os.fsdecode(b"caf\xe9.txt"),
}
NOTHINGS = ("cat..txt", "nobody.txt", "dog.json", "notes.md", "film.mp4")
posix = pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="such names are not possible there")


def image(path: Path, shade: int = 90) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 24), (shade % 256, 90, 200)).save(path, "PNG")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    for number, (name, beside) in enumerate(BELONGING.items()):
        image(folder / name, number)
        (folder / beside).write_text(f"caption {number}")
    for name in NOTHINGS:
        (folder / name).write_text("x")
    return folder


@posix
def test_what_belongs_to_an_image_is_found_and_the_rest_is_said(photos: Path) -> None:
    wanted = {name: f"caption {number}" for number, name in enumerate(BELONGING)}
    loaded = load_folder(photos)
    assert {each.path.name: each.caption for each in loaded.pictures} == wanted
    assert not loaded.skipped
    own = OwnCaptions()
    assert {source.name: own.of(source) for source in find_sources(photos)} == wanted
    assert {place.name: place.text for place in find_places(photos)} == wanted
    for said in ("\n".join(loaded.remarks), "\n".join(left_out(photos))):
        assert "(cat..txt, nobody.txt): no image has that name" in said
        assert "(dog.json, notes.md): captions are read from .txt and .caption files" in said
        assert "(film.mp4)" in said
    shutil.rmtree(photos)


def test_a_file_is_not_another_images_by_its_case_alone(tmp_path: Path) -> None:
    image(tmp_path / "cat.png")
    image(tmp_path / "CAT2.png")
    (tmp_path / "cat.txt").write_text("one")
    (tmp_path / "cat.caption").write_text("one again")
    (tmp_path / "cat2.txt").write_text("two")
    if not (tmp_path / "CAT.png").exists():  # where case counts
        image(tmp_path / "CAT.png")
        assert {p.path.name: p.caption for p in load_folder(tmp_path).pictures}["CAT.png"] is None
    loaded = load_folder(tmp_path)
    captions = {picture.path.name: picture.caption for picture in loaded.pictures}
    assert (captions["cat.png"], captions["CAT2.png"]) == ("one", "two")
    assert "(cat.caption): its image has another caption file, which counts" in loaded.remarks[0]


@posix
def test_a_zip_of_windows_and_one_with_strange_names(tmp_path: Path) -> None:
    image(tmp_path / "a.png")
    data = (tmp_path / "a.png").read_bytes()
    with zipfile.ZipFile(tmp_path / "SET.ZIP", "w") as archive:
        for name in (
            "trip\\cat.PNG",
            "trip\\CAT.txt",
            f"{NFD}.png",
            "é.txt",
            "new\nline.png",
            "..\\up.png",
            "trip\\x.txt",
        ):
            archive.writestr(name, data if name.lower().endswith("png") else f"of {name[-7:]}")
    own = OwnCaptions()
    found = {source.name: own.of(source) for source in find_sources(tmp_path / "SET.ZIP")}
    assert found == {"trip/cat.PNG": "of CAT.txt", f"{NFD}.png": "of é.txt", "new\nline.png": None}
    said = "\n".join(left_out(tmp_path / "SET.ZIP"))
    assert "(../up.png): their names lead out of the zip" in said
    assert "(trip/x.txt): no image has that name" in said


def test_images_in_subfolders_are_said_or_refused(tmp_path: Path) -> None:
    image(tmp_path / "own.png")
    image(tmp_path / "sub" / "a.png")
    image(tmp_path / "sub" / "deep" / "b.png")
    (said,) = left_below(find_dataset(tmp_path))
    assert said.startswith("2 images in subfolders of ")
    assert "(sub, sub/deep) are left out" in said
    (tmp_path / "own.png").unlink()
    with pytest.raises(UserError, match=r"no images in .* itself, but 2 images in subfolders .*limner prepare"):
        list(left_below(find_dataset(tmp_path)))
    image(tmp_path / "kohya" / "3_zqvx dog" / "a.png")
    image(tmp_path / "kohya" / "other" / "a.png")
    assert "(other) is left out" in next(left_below(find_dataset(tmp_path / "kohya")))


def test_masks_of_several_folders_are_mirrored_and_never_shared(tmp_path: Path) -> None:
    masks = tmp_path / "masks"
    for part in ("10_zqvx dog", "1_hwrk cat"):
        image(tmp_path / "set" / part / "cat.jpg")
        image(masks / part / "CAT.png", 255)
    image(tmp_path / "set" / "10_zqvx dog" / "flat.jpg")
    image(masks / "flat.png", 255)
    image(masks / "nobody.png", 255)
    dataset = find_dataset(tmp_path / "set")
    loaded = load(dataset, masks)
    found = {each.path.relative_to(tmp_path): each.mask and each.mask.path for part in loaded for each in part.pictures}
    assert found == {
        Path("set/10_zqvx dog/cat.jpg"): masks / "10_zqvx dog" / "CAT.png",
        Path("set/10_zqvx dog/flat.jpg"): masks / "flat.png",
        Path("set/1_hwrk cat/cat.jpg"): masks / "1_hwrk cat" / "CAT.png",
    }
    assert "1 of 2 masks is not used (nobody.png)" in "\n".join(loaded[0].remarks)
    image(tmp_path / "set" / "1_hwrk cat" / "flat.jpg")
    with pytest.raises(UserError, match=r"flat\.png could be the mask of .*10_zqvx dog.* or of .*1_hwrk cat"):
        load(dataset, masks)
    image(tmp_path / "one" / "cat.jpg")
    image(tmp_path / "one" / "cat.webp")
    image(masks / "cat.png")
    with pytest.raises(UserError, match=r"could be the mask of .*cat\.jpg or of .*cat\.webp"):
        load(DataSet(tmp_path / "one", (Part(tmp_path / "one"),)), masks)


def test_stray_masks_do_not_make_images_of_the_others(tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "masks/a.png", "masks/b.png", "masks/gone.png"):
        image(tmp_path / name)
    assert [source.name for source in find_sources(tmp_path)] == ["a.png", "b.png"]
    assert "1 of 3 masks is not used (gone.png): no image has that name" in "\n".join(left_out(tmp_path))
