"""Pictures that judge are put aside before anything is trained, by the seed, and never teach."""

from pathlib import Path

import pytest
from PIL import Image

from limner.compare.split import split
from limner.errors import UserError


def photos(folder: Path, count: int) -> Path:
    folder.mkdir()
    for index in range(count):
        Image.new("RGB", (64, 64), (20 * index, 90, 200)).save(folder / f"{index}.png")
        (folder / f"{index}.txt").write_text(f"picture {index}")
    return folder


@pytest.mark.parametrize(("count", "judges"), [(4, 2), (10, 2), (12, 2), (13, 3)])
def test_a_fifth_and_at_least_two_judge(tmp_path: Path, count: int, judges: int) -> None:
    images = photos(tmp_path / "photos", count)
    training, judging = split(images, tmp_path / "out", 0)
    assert (len(training.pictures), len(judging.pictures)) == (count - judges, judges)
    both = [*training.pictures, *judging.pictures]
    assert len({picture.sha256 for picture in both}) == count
    assert all(picture.caption == f"picture {picture.path.stem}" for picture in both)
    again = split(images, tmp_path / "out", 0)
    assert again == (training, judging)
    other = split(images, tmp_path / "other", 0)
    assert [picture.path.name for picture in other[1].pictures] == [picture.path.name for picture in judging.pictures]


def test_the_seed_decides(tmp_path: Path) -> None:
    images = photos(tmp_path / "photos", 10)
    chosen = {
        tuple(picture.path.name for picture in split(images, tmp_path / str(seed), seed)[1].pictures)
        for seed in range(6)
    }
    assert len(chosen) > 2


def test_the_same_picture_twice_is_on_one_side(tmp_path: Path) -> None:
    images = photos(tmp_path / "photos", 5)
    for index in range(5):
        (images / f"copy-{index}.png").write_bytes((images / f"{index}.png").read_bytes())
    training, judging = split(images, tmp_path / "out", 0)
    assert not {p.sha256 for p in training.pictures} & {p.sha256 for p in judging.pictures}
    assert len(judging.pictures) == 2


def test_too_few_and_others_than_before(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at least 4 different"):
        split(photos(tmp_path / "few", 3), tmp_path / "out", 0)
    assert not (tmp_path / "out").exists()
    images = photos(tmp_path / "photos", 5)
    split(images, tmp_path / "out", 0)
    (images / "0.png").unlink()
    with pytest.raises(UserError, match="other pictures"):
        split(images, tmp_path / "out", 0)


def test_what_is_not_compared_with_is_said(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    for number in range(8):
        image = Image.new("RGB", (32, 32), (30 * number, 90, 200))
        image.save(photos / f"{number}.png")
    image.save(photos / "sub" / "a.png")
    Image.new("L", (32, 32), 255).save(photos / "0.mask.png")
    (photos / "broken.png").write_bytes(b"x")
    (photos / "nobody.txt").write_text("x")
    for _ in range(2):  # and again by the command that goes on
        said = "\n".join(split(photos, tmp_path / "out", 0)[0].remarks)
        assert "broken.png is not an image" in said
        assert "does not use masks; there is one (0.png)" in said
        assert "1 image in a subfolder" in said
        assert "(nobody.txt): no image has that name" in said
