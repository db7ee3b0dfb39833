"""The cache gives what computing would give: never stale, never damaged, whatever happened to its files."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from limner.base.model import BaseModel
from limner.data.batch import Batches, Example
from limner.data.cache import Examples, encode_caption
from limner.data.dataset import Item
from limner.data.folder import Picture, load_folder
from limner.errors import UserError


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    rng = np.random.default_rng(0)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, size in enumerate([(120, 120), (160, 120), (100, 200)]):
        small = Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        small.resize(size, Image.Resampling.BICUBIC).save(folder / f"{number}.png")
    return load_folder(folder).pictures


class Counted:
    """Counts what a base encodes."""

    def __init__(self, base: BaseModel) -> None:
        self.images = self.texts = 0
        self.base = base
        encode_images, encode_prompts = base.encode_images, base.encode_prompts

        def images(*args):
            self.images += 1
            return encode_images(*args)

        def texts(*args):
            self.texts += 1
            return encode_prompts(*args)

        base.encode_images, base.encode_prompts = images, texts  # type: ignore[method-assign]

    def encode(self, pictures: list[Picture], cache: Path, **changes) -> list[Example]:
        captions = changes.pop("captions", ["zvq dog"] * len(pictures))
        taught = {"crops": changes.pop("crops", 2)} | changes.pop("taught", {})
        items = [Item(picture, caption, **taught) for picture, caption in zip(pictures, captions, strict=True)]
        settings = {"resolution": 64, "seed": 0, "text": True} | changes
        return list(Examples(self.base, items, cache_dir=cache, **settings))

    def reset(self) -> tuple[int, int]:
        counts = self.images, self.texts
        self.images = self.texts = 0
        return counts


@pytest.fixture
def counted(tiny_base: BaseModel) -> Counted:
    return Counted(tiny_base)


def same(left: list[Example], right: list[Example]) -> bool:
    return len(left) == len(right) and all(
        torch.equal(a.latents, b.latents)
        and a.caption == b.caption
        and (a.conditioning is None) == (b.conditioning is None)
        and (
            a.conditioning is None
            or b.conditioning is None
            or torch.equal(a.conditioning.hidden_states, b.conditioning.hidden_states)
        )
        for a, b in zip(left, right, strict=True)
    )


def test_examples_and_a_second_run_from_the_cache(counted: Counted, pictures: list[Picture], tmp_path: Path) -> None:
    first = counted.encode(pictures, tmp_path / "cache")
    assert counted.reset() == (9, 1)
    assert [tuple(example.latents.shape) for example in first[::3]] == [(4, 8, 8), (4, 6, 10), (4, 10, 6)]
    assert all(example.latents.dtype == torch.float32 for example in first)
    assert all(e.conditioning is not None and e.conditioning.hidden_states.shape == (1, 77, 32) for e in first)
    assert not any(example.latents.requires_grad or example.latents.is_inference() for example in first)
    for picture in pictures:
        picture.path.unlink()  # nothing needs to be opened again
    assert same(first, counted.encode(pictures, tmp_path / "cache"))
    assert counted.reset() == (0, 0)
    assert {example.latents.shape for example in first} == {
        Batches(first, 2, 0).at(step).latents.shape[1:] for step in range(6)
    }


def test_what_an_entry_depends_on_is_computed_again(
    counted: Counted, pictures: list[Picture], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    counted.encode(pictures, cache)
    counted.reset()
    counted.encode(pictures, cache, crops=3)
    assert counted.reset() == (3, 0)
    counted.encode(pictures, cache, seed=1)
    assert counted.reset() == (6, 0)
    counted.encode(pictures, cache, resolution=80)
    assert counted.reset() == (9, 0)
    counted.encode(pictures, cache, captions=["zvq dog", "zvq dog, sitting", "zvq dog"])
    assert counted.reset() == (0, 1)
    counted.encode(pictures, cache, clip_skip=2)
    assert counted.reset() == (0, 1)
    monkeypatch.setattr(counted.base, "sha256", "another base")
    counted.encode(pictures, cache)
    assert counted.reset() == (9, 1)


def test_a_changed_picture_under_the_same_name_is_encoded_anew(
    counted: Counted, pictures: list[Picture], tmp_path: Path
) -> None:
    before = counted.encode(pictures, tmp_path / "cache")
    path, stamp = pictures[0].path, pictures[0].path.stat()
    Image.open(path).transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    counted.reset()
    after = counted.encode(load_folder(path.parent).pictures, tmp_path / "cache")
    assert counted.reset() == (3, 0)
    assert not torch.equal(before[0].latents, after[0].latents)
    assert same(before[3:], after[3:])


def test_precision_is_part_of_the_key(tiny_base: BaseModel, pictures: list[Picture], tmp_path: Path) -> None:
    exact = Counted(tiny_base).encode(pictures, tmp_path / "cache")
    for network in tiny_base.networks.values():
        network.to(torch.bfloat16)
    coarse = Counted(tiny_base).encode(pictures, tmp_path / "cache")
    assert not torch.equal(exact[0].latents, coarse[0].latents)
    assert coarse[0].latents.dtype == torch.float32
    assert coarse[0].conditioning is not None
    assert coarse[0].conditioning.hidden_states.dtype == torch.bfloat16
    assert same(coarse, Counted(tiny_base).encode(pictures, tmp_path / "cache"))


@pytest.mark.parametrize("harm", ["empty", "cut", "flipped", "exchanged", "text", "folder gone", "link"])
def test_damaged_entries_are_computed_again(
    harm: str, counted: Counted, pictures: list[Picture], tmp_path: Path
) -> None:
    cache = tmp_path / "cache"
    first = counted.encode(pictures, cache)
    counted.reset()
    entries = sorted(cache.iterdir())
    assert len(entries) == 10
    contents = [entry.read_bytes() for entry in entries]
    for entry, data, other in zip(entries, contents, contents[1:] + contents[:1], strict=True):
        if harm in ("folder gone", "link"):
            entry.unlink()
            if harm == "link":
                entry.symlink_to(tmp_path / "nowhere")
            continue
        flipped = data[:-5] + bytes([data[-5] ^ 1]) + data[-4:]
        entry.write_bytes(
            {"empty": b"", "cut": data[: len(data) // 2], "flipped": flipped, "exchanged": other, "text": b"{}"}[harm]
        )
    if harm == "folder gone":
        cache.rmdir()
    assert same(first, counted.encode(pictures, cache))
    assert counted.reset() == (9, 1)
    assert [entry.read_bytes() for entry in entries] == contents


def test_results_do_not_depend_on_what_the_cache_held(
    counted: Counted, pictures: list[Picture], tmp_path: Path
) -> None:
    whole = counted.encode(pictures, tmp_path / "a")
    counted.encode(pictures[1:2], tmp_path / "b", crops=1)
    assert same(whole, counted.encode(pictures, tmp_path / "b"))


def test_text_is_left_to_a_trained_encoder(counted: Counted, pictures: list[Picture], tmp_path: Path) -> None:
    examples = counted.encode(pictures, tmp_path / "cache", text=False)
    assert counted.reset() == (9, 0)
    assert all(example.conditioning is None for example in examples)
    assert encode_caption(counted.base, "", tmp_path / "cache").hidden_states.shape == (1, 77, 32)


def test_a_picture_that_changes_midway_files_nothing_false(
    counted: Counted, pictures: list[Picture], tmp_path: Path
) -> None:
    Image.new("RGB", (120, 120)).save(pictures[0].path)
    with pytest.raises(UserError, match="changed"):
        counted.encode(pictures, tmp_path / "cache", text=False)
    assert not (tmp_path / "cache").exists()


def test_an_unwritable_cache_is_named(counted: Counted, pictures: list[Picture], tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(UserError, match="cannot write"):
        counted.encode(pictures, tmp_path / "cache")


def test_overflow_is_reported_and_not_filed(tiny_base: BaseModel, pictures: list[Picture], tmp_path: Path) -> None:
    for parameter in tiny_base.networks["vae"].parameters():
        parameter.data.fill_(1e30)
    with pytest.raises(UserError, match="overflows"):
        list(Examples(tiny_base, [Item(each, "a") for each in pictures], 64, 0, tmp_path / "cache", text=False))
    assert not (tmp_path / "cache").exists()


def test_a_kill_while_writing_leaves_nothing_false(counted: Counted, pictures: list[Picture], tmp_path: Path) -> None:
    """A process that files entries without end is killed; what it left is sound or not there."""
    script = """
import sys
from pathlib import Path
import torch
from limner.data import cache
number = 0
while True:
    cache._cached(Path(sys.argv[1]), f"entry {number}", lambda: torch.full((4, 64, 64), float(number)))
    number += 1
"""
    folder = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, "-c", script, folder])
    deadline = time.monotonic() + 60
    while (not folder.exists() or len(list(folder.iterdir())) < 20) and time.monotonic() < deadline:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    child.wait()
    from safetensors.torch import load_file

    finished = [path for path in folder.iterdir() if not path.name.startswith(".")]
    assert len(finished) >= 19
    assert all(load_file(path)["tensor"].unique().numel() == 1 for path in finished)


def test_mirrored_crops_are_encoded_for_themselves(counted: Counted, pictures: list[Picture], tmp_path: Path) -> None:
    plain = counted.encode(pictures, tmp_path / "cache", crops=1)
    counted.reset()
    both = counted.encode(pictures, tmp_path / "cache", crops=1, taught={"mirror": True})
    assert counted.reset() == (6, 0)
    assert same(plain, [both[i] for i in (0, 1, 4, 5, 8, 9)])
    picture = pictures[0]
    picture.open().transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "mirrored.png")
    mirrored = next(each for each in load_folder(tmp_path).pictures if each.path.stem == "mirrored")
    (centre,) = counted.encode([mirrored], tmp_path / "cache", crops=0)
    assert torch.allclose(centre.latents, both[2].latents, atol=1e-5)


def test_masks_are_cached_with_their_pictures(counted: Counted, pictures: list[Picture], tmp_path: Path) -> None:
    path = pictures[0].path.with_suffix(".mask.png")

    def paint(white: tuple[int, int, int, int]) -> list[Picture]:
        mask = Image.new("L", (120, 120))
        mask.paste(255, white)
        mask.save(path)
        return load_folder(path.parent).pictures

    masked = paint((0, 0, 60, 120))
    first = counted.encode(masked, tmp_path / "cache", crops=0, taught={"mask_background": 0.25})
    assert counted.reset() == (3, 1)
    assert first[0].mask is not None
    assert torch.equal(first[0].mask, torch.tensor([1.0] * 4 + [0.25] * 4).repeat(8, 1))
    assert first[1].mask is None
    path.unlink()
    again = counted.encode(masked, tmp_path / "cache", crops=0, taught={"mask_background": 0.0})
    assert again[0].mask is not None
    assert again[0].mask.mean() == 0.5
    (other, *_) = counted.encode(paint((0, 0, 120, 60)), tmp_path / "cache", crops=0)
    assert other.mask is not None
    assert torch.equal(other.mask, torch.tensor([1.0] * 4 + [0.0] * 4)[:, None].repeat(1, 8))
    assert counted.reset() == (0, 0)
    (whole, *_) = counted.encode(masked, tmp_path / "cache", crops=0, taught={"mask_background": 1.0})
    assert whole.mask is None


def test_beyond_the_budget_examples_are_read_again(counted: Counted, pictures: list[Picture], tmp_path: Path) -> None:
    whole = counted.encode(pictures, tmp_path / "cache")
    counted.reset()
    items = [Item(each, "zvq dog", crops=2) for each in pictures]
    small = Examples(counted.base, items, 64, 0, tmp_path / "cache", True, budget=1500)
    assert same(whole, list(small))
    assert same(whole[2:5], small[2:5])
    held = sum(tensor.nbytes for tensor in small._kept.values())
    assert 0 < held <= 1500
    for entry in (tmp_path / "cache").iterdir():
        entry.unlink()
    assert same(whole, list(small))
    assert 6 < counted.reset()[0] < 9
