"""A second pass at a larger size: against diffusers, and what sizes, upscalers, counting and bad values do."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionImg2ImgPipeline, StableDiffusionPipeline
from PIL import Image
from torch.nn import functional

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.cli import main
from limner.errors import UserError
from limner.generate import (
    Hires,
    Init,
    PromptFiles,
    Request,
    batches,
    drawing,
    generate,
    make_plan,
    to_image,
    unfinished,
)
from limner.generate.enlarge import enlarge, schedule_length, sizes
from limner.infotext import parse_infotext, read_picture
from limner.prompt_edits import timeline
from limner.sample import make_scheduler
from limner.samplers import find_sampler
from limner.upscalers import LATENT, PIXELS, find_upscaler

HIRES = Hires(scale=2, steps=2, strength=0.5)
REQUEST = Request("a photo of a cat", steps=3, seed=7, cfg_scale=3, hires=HIRES)


@pytest.fixture(scope="module")
def base(tiny_folder: Path) -> BaseModel:
    return open_base(tiny_folder, torch.device("cpu"), torch.float32)


def pixels(model: BaseModel, request: Request) -> np.ndarray:
    return np.stack([np.asarray(made.image).astype(int) for made in generate(model, request)])


@pytest.mark.parametrize(
    ("sampler", "upscaler"), [("Euler a", "Latent"), ("Heun", "Lanczos"), ("DDIM", "Latent (bicubic antialiased)")]
)
@torch.no_grad()
def test_pictures_are_those_of_diffusers(tiny_folder: Path, base: BaseModel, sampler: str, upscaler: str) -> None:
    """Two of diffusers' pipelines: one draws, its latents or picture are enlarged, the other does 2 steps of 4."""
    request = replace(REQUEST, sampler=sampler, count=2, batch_size=2, hires=replace(HIRES, upscaler=upscaler))
    ours = pixels(base, request)
    assert ours.shape == (2, 128, 128, 3)
    asked = {"prompt": [request.prompt] * 2, "guidance_scale": 3}
    first = StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None, **base.networks)
    second = StableDiffusionImg2ImgPipeline.from_pretrained(tiny_folder, safety_checker=None, **base.networks)
    for pipeline in (first, second):
        pipeline.set_progress_bar_config(disable=True)
        pipeline.scheduler = make_scheduler(base, *find_sampler(sampler))
    drawn = first(**asked, height=64, width=64, num_inference_steps=3, generator=generators(), output_type="latent")
    latents = drawn.images
    if upscaler in LATENT:
        mode, antialias = LATENT[upscaler]
        larger = functional.interpolate(latents, (16, 16), mode=mode, antialias=antialias)
    else:
        images = first.image_processor.postprocess(base.networks["vae"].decode(latents / 0.18215).sample)
        resized = [np.array(each.resize((128, 128), PIXELS[upscaler])) for each in images]
        levels = torch.from_numpy(np.stack(resized)).permute(0, 3, 1, 2) / 127.5 - 1
        larger = base.encode_images(levels)
    theirs = second(**asked, image=larger, strength=0.5, num_inference_steps=4, generator=generators()).images
    assert np.abs(ours - np.stack([np.asarray(image).astype(int) for image in theirs])).max() <= 2


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed) for seed in (7, 8)]


def test_every_upscaler_makes_a_picture_of_its_own(base: BaseModel) -> None:
    hires = [replace(HIRES, scale=1.5, steps=1, upscaler=name) for name in [*LATENT, *PIXELS]]
    made = {each.upscaler: pixels(base, replace(REQUEST, steps=1, hires=each)) for each in hires}
    assert {each.shape for each in made.values()} == {(1, 96, 96, 3)}
    assert np.array_equal(made.pop("None"), made["Lanczos"])  # as in the webui: it only fits
    assert np.abs(made.pop("Latent (antialiased)") - made["Latent"]).max() <= 1  # of use where it becomes smaller
    assert len({each.tobytes() for each in made.values()}) == len(made)


@torch.no_grad()
def test_more_strength_is_farther_from_what_was_drawn_first(base: BaseModel) -> None:
    plan = make_plan(base, replace(REQUEST, hires=None), PromptFiles())
    (*_, last) = drawing(base, plan, range(1))
    larger = functional.interpolate(last.latents, (16, 16), mode="bilinear")
    first = np.asarray(to_image(base.decode(larger)[0])).astype(int)
    hires = [replace(HIRES, strength=strength) for strength in (0.05, 0.4, 1.0)]
    distances = [np.abs(pixels(base, replace(REQUEST, hires=each)) - first).mean() for each in hires]
    assert distances == sorted(distances)


def test_sizes_are_the_webuis() -> None:
    def found(**given: float) -> tuple[tuple[int, int], tuple[int, int]]:
        return sizes(Hires(**given), (512, 768), 8)  # type: ignore[arg-type]

    assert found(scale=2) == ((1024, 1536), (1024, 1536))
    assert found(scale=1.3) == ((664, 992), (664, 992))  # 665.6 x 998.4, in whole latents
    assert found(width=1024) == found(width=1024, height=0) == ((1024, 1536), (1024, 1536))
    assert found(height=1024) == ((680, 1024), (680, 1024))
    assert found(width=1024, height=1024) == ((1024, 1536), (1024, 1024))
    assert found(width=512, height=1536) == ((1024, 1536), (512, 1536))


def test_what_stands_over_is_cut_off_at_both_sides(base: BaseModel) -> None:
    hires = Hires(width=128, height=64, upscaler="Latent (nearest)", steps=1)
    (made,) = generate(base, replace(REQUEST, hires=hires))
    assert made.image.size == make_plan(base, replace(REQUEST, hires=hires), PromptFiles()).size == (128, 64)
    latents = torch.randn(1, 4, 8, 8)
    doubled = latents.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.equal(enlarge(base, hires, latents, (64, 64)), doubled[:, :, 4:12])


def test_as_many_steps_are_done_as_are_said(base: BaseModel) -> None:
    assert [schedule_length(steps, strength) for steps, strength in ((20, 0.7), (8, 1), (10, 0.5))] == [28, 8, 20]
    for sampler, hires in (("Heun", HIRES), ("PLMS", HIRES), ("Euler", replace(HIRES, steps=0))):
        plan = make_plan(base, replace(REQUEST, sampler=sampler, hires=hires), PromptFiles())
        told = [(step.step, step.steps, step.latents.shape[-1]) for step in drawing(base, plan, range(1))]
        steps = [step for step, _, _ in told]
        assert steps == sorted(steps)
        assert {each for _, each, _ in told} == {steps[-1]}
        assert {side for _, _, side in told} == {8, 16}
        calls_more = sampler == "PLMS"  # which asks twice at its second step
        assert len({step for step, _, side in told if side == 16}) == (hires.steps or 3) + calls_more


def test_left_in_either_pass_it_is_what_it_is_so_far(base: BaseModel) -> None:
    plan = make_plan(base, REQUEST, PromptFiles())
    (numbers,) = batches(plan)
    steps = drawing(base, plan, numbers)
    for expected, side in ((1, 64), (2, 64), (3, 64), (4, 128)):
        step = next(steps)
        (left,) = unfinished(base, plan, numbers, step)
        assert (left.image.size, step.step) == ((side, side), expected)
        assert parse_infotext(left.infotext).settings["Stopped at step"] == str(expected)
    steps.close()


def test_a_batch_is_the_same_pictures_and_a_variation_varies_both_passes(base: BaseModel) -> None:
    two = pixels(base, replace(REQUEST, count=2, batch_size=2))
    assert np.abs(two[1] - pixels(base, replace(REQUEST, seed=8))[0]).max() <= 1
    varied = replace(REQUEST, subseed=3, subseed_strength=0.4)
    assert not np.array_equal(pixels(base, varied), two[:1])


def test_timed_edits_count_on_in_the_second_pass(base: BaseModel) -> None:
    assert timeline("[fox:cat:0.5]", 4, 8) == [(4, "cat")]
    assert timeline("[fox:cat:1.5]", 4, 8) == [(2, "fox"), (4, "cat")]
    assert timeline("[fox:cat:10]", 4, 8) == [(2, "fox"), (4, "cat")]
    assert timeline("[fox:cat:1.5]", 8) == [(8, "fox")]
    assert [said for _, said in timeline("[fox|cat]", 3, 8)] == ["fox", "cat", "fox"]
    early, late = (replace(REQUEST, prompt=prompt) for prompt in ("[a fox:a red car:0.1]", "[a fox:a red car:1.1]"))
    assert not np.array_equal(pixels(base, early), pixels(base, late))


def test_it_is_told_as_the_webui_tells_it(base: BaseModel) -> None:
    (made,) = generate(base, REQUEST)
    assert "Size: 64x64" in made.infotext
    assert (
        "Denoising strength: 0.5, RNG: CPU, Hires upscale: 2, Hires steps: 2, Hires upscaler: Latent" in made.infotext
    )
    sized = replace(REQUEST, hires=Hires(width=128, upscaler="lanczos"))
    (made,) = generate(base, sized)
    said = parse_infotext(made.infotext).settings
    assert (said["Hires resize"], said["Hires upscaler"], said["Denoising strength"]) == ("128x0", "Lanczos", "0.7")
    assert not {"Hires upscale", "Hires steps"} & said.keys()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"scale": 0.5}, "hires scale 0.5"),
        ({"scale": float("nan")}, "hires scale nan"),
        ({"scale": 8, "width": 100}, "hires width 100"),
        ({"width": 8192}, "hires width 8192"),
        ({"upscaler": "Lanczoz"}, "'Lanczos'"),
        ({"upscaler": "R-ESRGAN 4x+"}, "no upscaler"),
        ({"steps": -1}, "hires steps -1"),
        ({"strength": 0}, "hires strength 0"),
        ({"strength": 1.5}, "hires strength 1.5"),
        ({"steps": 20, "strength": 0.01}, "the last of 2000"),
    ],
)
def test_what_will_not_do_is_said_before_anything_is_drawn(base: BaseModel, changes: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        generate(base, replace(REQUEST, hires=replace(HIRES, **changes)))


def test_other_reasons_why_it_will_not_do(base: BaseModel) -> None:
    with pytest.raises(UserError, match="starts from another"):
        generate(base, replace(REQUEST, init=Init((Image.new("RGB", (64, 64)),))))
    with pytest.raises(UserError, match="enlarged width 4800"):
        generate(base, replace(REQUEST, width=2400, height=64))
    with pytest.raises(UserError, match="at most 50"):
        generate(base, replace(REQUEST, sampler="LCM", hires=replace(HIRES, steps=40)))
    assert find_upscaler("nearest", of_pixels=True) == "Nearest"
    with pytest.raises(UserError, match="use one of None, Lanczos, Nearest"):
        find_upscaler("ESRGAN_4x_ABCDEFGH", of_pixels=True)


def test_the_command(tiny_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["generate", "a cat", "--base", str(tiny_folder), "--steps", "2", "--out", str(tmp_path / "out.png")]
    large = ["--hires-scale", "1.5", "--hires-upscaler", "Latent (nearest)", "--hires-steps", "1"]
    assert main([*options, *large, "--hires-strength", "0.6"]) == 0
    with Image.open(tmp_path / "out.png") as image:
        assert image.size == (96, 96)
    found = read_picture(tmp_path / "out.png")
    assert found is not None
    names = ("Hires upscale", "Hires steps", "Hires upscaler", "Denoising strength")
    assert [found.settings[name] for name in names] == ["1.5", "1", "Latent (nearest)", "0.6"]
    capsys.readouterr()
    options.append("--overwrite")
    assert main([*options, "--hires-steps", "3"]) == 2
    assert "--hires-scale" in capsys.readouterr().err
    assert main([*options, "--hires-scale", "2", "--hires-upscaler", "latnt"]) == 2
    assert "'Latent'" in capsys.readouterr().err
