"""Pictures that start from pictures: against diffusers, and what masks, sizes and other noise do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline
from PIL import Image, ImageDraw

from limner.api import load
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.cli import main
from limner.errors import UserError
from limner.generate import Init, PromptFiles, Request, drawing, generate, make_plan, to_image
from limner.generate.canvas import filled, resized
from limner.generate.preview import Previewer
from limner.generate.start import first_step, turned
from limner.infotext import parse_infotext, read_picture
from limner.sample import draw_noise, make_scheduler
from limner.samplers import SAMPLERS, find_sampler

REQUEST = Request("a photo of a cat", steps=4, seed=7, cfg_scale=3)


@pytest.fixture(scope="module")
def base(tiny_folder: Path) -> BaseModel:
    return open_base(tiny_folder, torch.device("cpu"), torch.float32)


def photo(width: int = 64, height: int = 64) -> Image.Image:
    rows, columns = np.mgrid[0:height, 0:width]
    levels = np.stack([rows * 255 / height, columns * 255 / width, 128 + 0 * rows], axis=2)
    return Image.fromarray(levels.astype(np.uint8))


def half_mask(width: int = 64, height: int = 64) -> Image.Image:
    """White in the left half."""
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).rectangle((0, 0, width // 2 - 1, height), fill=255)
    return mask


def pixels(model: BaseModel, request: Request) -> np.ndarray:
    return np.stack([np.asarray(made.image).astype(int) for made in generate(model, request)])


@pytest.mark.parametrize("sampler", SAMPLERS)
@torch.no_grad()
def test_pictures_are_those_of_diffusers(tiny_folder: Path, base: BaseModel, sampler: str) -> None:
    """The webui does one step more than diffusers: 3 of 4 at strength 0.5, which diffusers calls 0.75."""
    init = Init((photo(),), strength=0.5)
    request = replace(REQUEST, sampler=sampler, negative_prompt="blurry", count=2, batch_size=2, init=init)
    ours = pixels(base, request)
    pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(tiny_folder, safety_checker=None, **base.networks)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = make_scheduler(base, *find_sampler(sampler))
    encoded = base.encode_images(torch.from_numpy(np.array(photo())).permute(2, 0, 1)[None] / 127.5 - 1)
    theirs = pipeline(
        [request.prompt] * 2,
        image=encoded,  # of four channels, so taken as it is
        strength=0.75,
        negative_prompt=["blurry"] * 2,
        num_inference_steps=4,
        guidance_scale=3,
        generator=[torch.Generator().manual_seed(seed) for seed in (7, 8)],
    ).images
    assert np.abs(ours - np.stack([np.asarray(image).astype(int) for image in theirs])).max() <= 1


def test_the_steps_that_are_done_are_counted_as_the_webui_does() -> None:
    assert [20 - first_step(strength, 20) for strength in (0, 0.05, 0.5, 0.75, 0.99, 1)] == [1, 2, 11, 16, 20, 20]
    assert first_step(1, 1) == 0


@torch.no_grad()
def test_more_strength_is_farther_from_the_picture(base: BaseModel) -> None:
    encoded = base.encode_images(torch.from_numpy(np.array(photo())).permute(2, 0, 1)[None] / 127.5 - 1)
    decoded = np.asarray(to_image(base.decode(encoded)[0])).astype(int)
    distances = []
    for strength in (0.0, 0.5, 1.0):
        (made,) = generate(base, replace(REQUEST, steps=8, init=Init((photo(),), strength=strength)))
        assert parse_infotext(made.infotext).settings["Denoising strength"] == f"{strength:g}"
        distances.append(np.abs(np.asarray(made.image).astype(int) - decoded).mean())
    assert distances == sorted(distances)


def test_pictures_take_turns_in_a_batch(base: BaseModel) -> None:
    white = Image.new("RGB", (64, 64), "white")
    request = replace(REQUEST, count=3, batch_size=3, init=Init((photo(), white), strength=0.3))
    together = pixels(base, request)
    for number, start in enumerate((photo(), white, photo())):
        alone = pixels(base, replace(REQUEST, seed=7 + number, init=Init((start,), strength=0.3)))
        assert np.abs(together[number] - alone[0]).max() <= 1


@pytest.mark.parametrize("fill", ["original", "fill", "noise", "nothing"])
def test_what_the_mask_leaves_stays_and_the_rest_is_drawn(base: BaseModel, fill: str) -> None:
    init = Init((photo(),), strength=1, mask=half_mask(), mask_blur=0, fill=fill)  # type: ignore[arg-type]
    (made,) = generate(base, replace(REQUEST, init=init))
    drawn, original = np.asarray(made.image).astype(int), np.asarray(photo()).astype(int)
    assert np.array_equal(drawn[:, 32:], original[:, 32:])
    assert np.abs(drawn[:, :32] - original[:, :32]).mean() > 5
    assert parse_infotext(made.infotext).settings["Masked content"].endswith(fill)


def test_the_kinds_of_filling_and_an_inverted_mask_are_different_pictures(base: BaseModel) -> None:
    inits = [Init((photo(),), strength=0.6, mask=half_mask(), mask_blur=0)]
    inits += [replace(inits[0], fill=fill) for fill in ("fill", "noise", "nothing")]  # type: ignore[arg-type]
    inits += [replace(inits[0], mask_invert=True), replace(inits[0], mask=None)]
    made = [pixels(base, replace(REQUEST, init=init)).tobytes() for init in inits]
    assert len(set(made)) == len(made)
    turned_round = replace(inits[0], mask_invert=True, mask=Image.eval(half_mask(), lambda level: 255 - level))
    assert pixels(base, replace(REQUEST, init=turned_round)).tobytes() == made[0]


def test_latents_that_stay_are_those_of_the_picture_at_every_step(base: BaseModel) -> None:
    init = Init((photo(),), strength=1, mask=half_mask(), mask_blur=0)
    plan = make_plan(base, replace(REQUEST, init=init), PromptFiles())
    encoded = base.encode_images(torch.from_numpy(np.array(photo())).permute(2, 0, 1)[None] / 127.5 - 1)
    for step in drawing(base, plan, range(1)):
        assert torch.allclose(step.latents[..., 4:], encoded[..., 4:], atol=2e-2)


def test_only_the_masked_part_is_drawn_in_the_full_size(base: BaseModel) -> None:
    mask = Image.new("L", (256, 256))
    ImageDraw.Draw(mask).rectangle((40, 40, 71, 71), fill=255)
    init = Init((photo(256, 256),), strength=1, mask=mask, mask_blur=0, only_masked=True, padding=16)
    (made,) = generate(base, replace(REQUEST, init=init))
    assert made.image.size == (256, 256)
    changed = np.abs(np.asarray(made.image).astype(int) - np.asarray(photo(256, 256)).astype(int)).sum(2) > 0
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (40, 71, 40, 71)
    assert parse_infotext(made.infotext).settings["Masked area padding"] == "16"


def test_sizes() -> None:
    wide = photo(128, 64)
    for how in ("stretch", "crop", "fill"):
        assert resized(wide, (64, 96), how).size == (64, 96)  # type: ignore[arg-type]
    fitted = np.asarray(resized(wide, (64, 96), "fill"))
    assert np.array_equal(fitted[0], fitted[31])
    assert np.array_equal(fitted[-1], fitted[64])
    cut = np.asarray(resized(wide, (64, 64), "crop"))
    assert abs(int(cut[0, 0, 1]) - 64) <= 3  # a quarter is cut at the left


def test_every_way_of_resizing_reaches_the_picture(base: BaseModel) -> None:
    inits = [Init((photo(128, 96),), strength=0.4, resize=how) for how in ("stretch", "crop", "fill", "latent")]  # type: ignore[arg-type]
    made = [pixels(base, replace(REQUEST, init=init)) for init in inits]
    assert all(each.shape == (1, 64, 64, 3) for each in made)
    assert len({each.tobytes() for each in made}) == 4


def test_a_hole_is_filled_with_what_is_around_it() -> None:
    picture = Image.new("RGB", (96, 64), (200, 40, 40))
    mask = Image.new("L", (96, 64))
    ImageDraw.Draw(mask).rectangle((30, 20, 60, 50), fill=255)
    picture.paste((0, 255, 255), (30, 20, 61, 51))
    assert np.abs(np.asarray(filled(picture, mask)).astype(int) - (200, 40, 40)).max() <= 1
    assert filled(picture, Image.new("L", (96, 64), 255)).size == (96, 64)  # nothing is around it


def test_what_is_transparent_lies_on_white_and_a_transparent_mask_covers_what_is_opaque(base: BaseModel) -> None:
    clear = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    white = Image.new("RGB", (64, 64), "white")
    same = [pixels(base, replace(REQUEST, init=Init((image,), strength=0.4))) for image in (clear, white)]
    assert np.array_equal(*same)
    alpha = Image.new("RGBA", (64, 64), (0, 0, 0, 0))
    alpha.paste((0, 0, 0, 255), (0, 0, 32, 64))
    both = [Init((photo(),), strength=0.5, mask=mask, mask_blur=0) for mask in (alpha, half_mask())]
    assert np.array_equal(*(pixels(base, replace(REQUEST, init=init)) for init in both))


@pytest.mark.parametrize(
    ("init", "said"),
    [
        (Init(()), "no picture"),
        (Init((photo(),), strength=1.5), "strength 1.5"),
        (Init((photo(),), mask_blur=-1), "mask_blur"),
        (Init((Image.new("RGB", (8, 64)),)), "8x64"),
    ],
)
def test_what_will_not_do_is_said(base: BaseModel, init: Init, said: str) -> None:
    with pytest.raises(UserError, match=said):
        generate(base, replace(REQUEST, init=init))


# --- other noise ---


def test_noise_turns_into_the_other_and_stays_as_long() -> None:
    (one, _), (other, _) = draw_noise([1], 16, 16, 4), draw_noise([2], 16, 16, 4)
    assert torch.allclose(turned(one, other, 0), one)
    assert torch.allclose(turned(one, other, 1), other, atol=1e-5)
    assert abs(float(turned(one, other, 0.5).std()) - 1) < 0.1
    assert torch.allclose(turned(one, one, 0.3), one)


def test_a_variation_keeps_the_seed_and_counts_the_other(base: BaseModel) -> None:
    plain = pixels(base, REQUEST)
    made = list(generate(base, replace(REQUEST, count=2, subseed=3, subseed_strength=0.3)))
    assert [each.seed for each in made] == [7, 7]
    said = [parse_infotext(each.infotext).settings for each in made]
    assert [each["Variation seed"] for each in said] == ["3", "4"]
    assert said[0]["Variation seed strength"] == "0.3"
    again = pixels(base, replace(REQUEST, subseed=4, subseed_strength=0.3))
    assert np.abs(np.asarray(made[1].image).astype(int) - again[0]).max() == 0
    assert not np.array_equal(again, plain)
    assert np.array_equal(pixels(base, replace(REQUEST, subseed=4)), plain)


# --- the command ---


@pytest.mark.slow
def test_the_command_takes_a_picture_and_a_mask(
    tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo().save(tmp_path / "photo.png")
    half_mask().save(tmp_path / "mask.png")
    options = ["generate", "a cat", "--base", tiny_folder, "--init-image", tmp_path / "photo.png", "--strength", "0.4"]
    options += ["--mask", tmp_path / "mask.png", "--mask-fill", "noise", "--steps", "2", "--out", tmp_path / "out.png"]
    assert main([str(option) for option in options]) == 0
    found = read_picture(tmp_path / "out.png")
    assert found is not None
    assert (found.settings["Denoising strength"], found.settings["Masked content"]) == ("0.4", "latent noise")
    (tmp_path / "photo.png").write_text("no picture")
    capsys.readouterr()
    assert main([str(option) for option in options]) == 2
    assert "photo.png is not an image that can be read" in capsys.readouterr().err
    assert main(["generate", "a cat", "--mask", str(tmp_path / "mask.png")]) == 2
    assert "--init-image" in capsys.readouterr().err


@torch.no_grad()
def test_a_preview_is_like_the_picture_without_the_autoencoder() -> None:
    model = load("pocket", device="cpu")
    picture = photo(128, 128)
    latents = model.encode_images(torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None] / 127.5 - 1)
    small = Previewer.of(model)(latents[0])
    assert small.size == (16, 16)
    likeness = np.corrcoef(np.asarray(small).ravel(), np.asarray(picture.resize(small.size)).ravel())[0, 1]
    assert likeness > 0.8
