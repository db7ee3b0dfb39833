"""Pictures shown in other ways, and captions that stay true of them."""

import colorsys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw, ImageFont
from training import small_run

from limner import run
from limner.base.model import BaseModel
from limner.config import TrainSettings, read_training
from limner.data.cache import Examples
from limner.data.crop import LIGHTS, Light, crops_for, pixels
from limner.data.dataset import Item, Loaded, Part
from limner.data.folder import Picture, load_folder
from limner.data.mirror import all_one_way, side_of
from limner.events import Chosen, Prepared
from limner.run.data import DataSet, RunData, choose_mirrored


def soft(seed: int) -> Image.Image:
    colours = np.random.default_rng(seed).integers(60, 190, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((128, 128), Image.Resampling.BICUBIC)


def written(text: str) -> Image.Image:
    image = Image.new("RGB", (320, 200), "white")
    ImageDraw.Draw(image).text((20, 70), text, fill="black", font=ImageFont.load_default(36))
    return image


def saved(folder: Path, *images: Image.Image) -> list[Picture]:
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        image.save(folder / f"{index}.png")
    return load_folder(folder).pictures


def test_lights_are_few_within_bounds_and_the_same_for_a_seed(tmp_path: Path) -> None:
    (picture,) = saved(tmp_path / "a", soft(0))
    plain = crops_for(picture, 64, 2, seed=1, mirror=True)
    crops = crops_for(picture, 64, 2, seed=1, mirror=True, jitter=0.2)
    assert crops[: len(plain)] == plain
    lit = crops[len(plain) :]
    assert len(lit) == LIGHTS * len(plain)
    assert len(set(lit)) == len(lit)
    for crop in lit:
        assert crop.light is not None
        assert all(0.8 <= factor <= 1.2 for factor in vars(crop.light).values())
    assert crops == crops_for(picture, 64, 2, seed=1, mirror=True, jitter=0.2)
    assert crops != crops_for(picture, 64, 2, seed=2, mirror=True, jitter=0.2)


def test_a_light_changes_what_it_says_and_no_hue() -> None:
    image = soft(1)
    levels = np.asarray(image).astype(float)
    brighter = np.asarray(Light(1.2, 1.0, 1.0).on(image)).astype(float)
    np.testing.assert_allclose(brighter, levels * 1.2, atol=1)
    flatter = np.asarray(Light(1.0, 0.5, 1.0).on(image).convert("L")).astype(float)
    assert flatter.std() == pytest.approx(np.asarray(image.convert("L")).std() / 2, rel=0.05)
    assert not np.ptp(np.asarray(Light(1.0, 1.0, 0.0).on(image)), axis=2).any()
    for colour in ((200, 60, 60), (60, 90, 180), (90, 160, 70)):
        lit = Light(0.8, 1.0, 1.2).on(Image.new("RGB", (4, 4), colour)).getpixel((0, 0))
        assert isinstance(lit, tuple)
        assert colorsys.rgb_to_hsv(*lit)[0] == pytest.approx(colorsys.rgb_to_hsv(*colour)[0], abs=0.01)


def test_every_light_is_encoded_once(tiny_base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (picture,) = saved(tmp_path / "a", soft(2))
    items = [Item(picture, "zvq dog", crops=1, colour_jitter=0.3)]

    def encode() -> list[torch.Tensor]:
        return [each.latents for each in Examples(tiny_base, items, 64, 0, tmp_path / "cache", text=False)]

    first = encode()
    assert len(first) == 2 * (1 + LIGHTS)
    assert all(not torch.equal(one, other) for at, one in enumerate(first) for other in first[:at])
    for latents, view in zip(first, crops_for(picture, 64, 1, 0, jitter=0.3), strict=True):
        with torch.no_grad():
            again = tiny_base.encode_images(pixels(picture.open(), view)[None])[0]
        torch.testing.assert_close(latents, again)
    monkeypatch.setattr(tiny_base, "encode_images", lambda *_: pytest.fail("it encoded again"))
    assert all(torch.equal(one, other) for one, other in zip(first, encode(), strict=True))


@pytest.mark.parametrize("caption", ["a zvq dog facing left", "zvq dog, RIGHT side", "a zvq logo", "portrait of zvq"])
def test_captions_that_a_mirror_would_make_untrue(caption: str, tmp_path: Path) -> None:
    (picture,) = saved(tmp_path / "a", soft(3))
    assert side_of(picture, caption)
    assert side_of(picture, "a zvq dog, brightly lit, on the leftover snow") is None


def test_letters_and_faces_are_not_mirrored(tmp_path: Path) -> None:
    letters, plain = saved(tmp_path / "a", written("limner knows letters"), soft(4))
    assert side_of(letters, "a zvq cup") == "letters"
    assert side_of(plain, "a zvq cup") is None
    skimage = pytest.importorskip("skimage.data")
    (face,) = saved(tmp_path / "b", Image.fromarray(skimage.astronaut()))
    assert side_of(face, "a zvq cup") == "faces"


def test_a_subject_that_always_faces_one_way(tmp_path: Path) -> None:
    def arrow(seed: int, mirrored: bool) -> Image.Image:
        image = soft(seed)
        ImageDraw.Draw(image).polygon([(20, 20), (20, 108), (110, 64)], fill="black")
        return image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else image

    assert all_one_way(saved(tmp_path / "a", *(arrow(seed, False) for seed in range(8))))
    assert not all_one_way(saved(tmp_path / "b", *(arrow(seed, seed % 2 == 0) for seed in range(8))))
    assert not all_one_way(saved(tmp_path / "c", *(soft(seed) for seed in range(8))))
    assert not all_one_way(saved(tmp_path / "d", arrow(0, False)))
    assert not all_one_way(saved(tmp_path / "e", *[Image.new("RGB", (64, 64), "red")] * 5))


def test_auto_mirrors_what_it_may_and_says_what_not(tmp_path: Path) -> None:
    pictures = saved(tmp_path / "a", soft(5), soft(6), written("limner knows letters"))
    switched = saved(tmp_path / "b", written("limner knows letters"))
    parts = [Part(tmp_path / "a", "zvq"), Part(tmp_path / "b", "zvq", mirror=True)]
    loaded = [Loaded(part, each, []) for part, each in zip(parts, (pictures, switched), strict=True)]
    data = RunData(DataSet(tmp_path, tuple(parts)), loaded)
    told = {"images": tmp_path, "keyword": "zvq"}
    items = data.items(TrainSettings.read(told | {"mirror": "auto"}, "test"))
    assert [item.mirror for item in items] == [True, True, False, True]
    (chosen,) = choose_mirrored(TrainSettings.read(told | {"mirror": "auto"}, "test"), items)
    assert (chosen.value, chosen.reason) == ("3 of 4 pictures", "the others have letters")
    for mirror in (False, True):
        settings = TrainSettings.read(told | {"mirror": mirror}, "test")
        assert [item.mirror for item in data.items(settings)] == [mirror, mirror, mirror, True]
        assert not choose_mirrored(settings, items)


def test_a_run_shows_pictures_mirrored_and_in_other_lights(tmp_path: Path, tiny_folder: Path) -> None:
    values: dict[str, Any] = small_run(tmp_path / "photos", [(64, 64)] * 2, tiny_folder, tmp_path / "cache", steps=1)
    values |= {"mirror": "auto", "colour_jitter": 0.1, "held_out": 0, "out": str(tmp_path / "a.safetensors")}
    values |= {"run": str(tmp_path / "run")}
    events = list(run.train(*read_training(values, "test")))
    assert [event.total for event in events if isinstance(event, Prepared)][-1] == 2 * 2 * (1 + LIGHTS)
    assert [event.value for event in events if isinstance(event, Chosen) and event.name == "mirror"] == [
        "2 of 2 pictures"
    ]
