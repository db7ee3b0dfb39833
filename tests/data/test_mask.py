"""Masks: found, checked, cropped exactly as their picture, and never mistaken for one."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.data.crop import coverage, crops_for, pixels
from limner.data.folder import ImageFolder, load_folder
from limner.errors import UserError


def picture(path: Path, size: tuple[int, int] = (64, 48)) -> None:
    path.parent.mkdir(exist_ok=True)
    Image.effect_noise(size, 50).convert("RGB").save(path)


def half(path: Path, size: tuple[int, int] = (64, 48), mode: str = "L") -> None:
    """A mask whose left half is white."""
    path.parent.mkdir(exist_ok=True)
    levels = np.zeros(size[::-1], np.uint8)
    levels[:, : size[0] // 2] = 255
    Image.fromarray(levels).convert(mode).save(path)


def masked(folder: ImageFolder) -> dict[str, str | None]:
    return {each.path.name: each.mask.path.name if each.mask else None for each in folder.pictures}


def test_masks_beside_their_pictures(tmp_path: Path) -> None:
    for name in ("a.jpg", "b.png", "c.png"):
        picture(tmp_path / name)
    half(tmp_path / "a.mask.png")
    half(tmp_path / "b-masklabel.png", mode="RGB")
    folder = load_folder(tmp_path)
    assert masked(folder) == {"a.jpg": "a.mask.png", "b.png": "b-masklabel.png", "c.png": None}
    assert not folder.skipped
    for each in folder.pictures[:2]:
        assert each.mask is not None
        assert np.asarray(each.mask.open())[:, :32].min() == 255
        assert np.asarray(each.mask.open())[:, 32:].max() == 0


def test_masks_in_a_folder_of_their_own(tmp_path: Path) -> None:
    for place in ("photos/masks", "elsewhere"):
        picture(tmp_path / "photos" / "a.jpg")
        picture(tmp_path / "photos" / "b.jpg")
        half(tmp_path / place / "a.png")
    assert masked(load_folder(tmp_path / "photos")) == {"a.jpg": "a.png", "b.jpg": None}
    (found, _) = load_folder(tmp_path / "photos", masks=tmp_path / "elsewhere").pictures
    assert found.mask is not None
    assert found.mask.path.parent.name == "elsewhere"
    with pytest.raises(UserError, match="nowhere"):
        load_folder(tmp_path / "photos", masks=tmp_path / "nowhere")


def test_transparency_as_a_mask_only_where_it_is_asked_for(tmp_path: Path) -> None:
    levels = np.full((48, 64, 4), 200, np.uint8)
    levels[:, :, 3] = 255
    Image.fromarray(levels).save(tmp_path / "opaque.png")
    levels[:, 32:, 3] = 0
    Image.fromarray(levels).save(tmp_path / "cut.png")
    assert masked(load_folder(tmp_path)) == {"cut.png": None, "opaque.png": None}
    cut, opaque = load_folder(tmp_path, alpha_masks=True).pictures
    assert opaque.mask is None
    assert cut.mask is not None
    assert np.asarray(cut.mask.open())[0, [0, 40]].tolist() == [255, 0]
    levels[:, :, 3] = 0
    Image.fromarray(levels).save(tmp_path / "nothing.png")
    (skipped,) = load_folder(tmp_path, alpha_masks=True).skipped
    assert "all transparent" in skipped.reason


def test_masks_that_will_not_do_are_named(tmp_path: Path) -> None:
    for name in ("large.png", "black.png", "broken.png", "good.png"):
        picture(tmp_path / name)
    half(tmp_path / "large.mask.png", (32, 24))
    Image.new("L", (64, 48), 1).save(tmp_path / "black.mask.png")
    (tmp_path / "broken.mask.png").write_bytes((tmp_path / "good.png").read_bytes()[:200])
    half(tmp_path / "gone.mask.png")
    reasons = {each.path.name: each.reason for each in load_folder(tmp_path).skipped}
    assert "large.mask.png of 32x24 pixels, but is 64x48" in reasons["large.png"]
    assert "all black" in reasons["black.png"]
    assert "broken.mask.png that is truncated" in reasons["broken.png"]
    assert "'gone' that is not there" in reasons["gone.mask.png"]


def test_a_mask_that_changed_is_noticed(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    half(tmp_path / "a.mask.png")
    (found,) = load_folder(tmp_path).pictures
    assert found.mask is not None
    half(tmp_path / "a.mask.png", mode="RGB")
    with pytest.raises(UserError, match="changed while"):
        found.mask.open()


def test_a_mask_is_cropped_as_its_picture(tmp_path: Path) -> None:
    """A picture that is its own mask shows the same in every crop, mirrored ones too."""
    ramp = np.tile(np.linspace(0, 255, 200, dtype=np.uint8), (130, 1)) // 2 + np.arange(126, -4, -1)[:, None] % 128
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "a.png")
    Image.fromarray(ramp.astype(np.uint8)).save(tmp_path / "a.mask.png")
    (found,) = load_folder(tmp_path).pictures
    assert found.mask is not None
    views = crops_for(found, 64, 3, seed=1, mirror=True)
    assert len(views) == 8
    assert [view.mirrored for view in views] == [False] * 4 + [True] * 4
    for view in views:
        seen = (pixels(found.open(), view)[0] + 1) / 2
        blocks = seen.unfold(0, 8, 8).unfold(1, 8, 8).mean((2, 3))
        covered = coverage(found.mask.open(), view, 8)
        assert covered.shape == (view.height // 8, view.width // 8)
        assert (covered - blocks).abs().max() < 0.06
    assert torch.equal(pixels(found.open(), views[4]), pixels(found.open(), views[0]).flip(2))
