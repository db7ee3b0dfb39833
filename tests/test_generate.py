"""A request becomes pictures: the same ones as diffusers', LoRAs in and out again, and errors before any work."""

import copy
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.errors import UserError
from limner.formats import save_weights
from limner.generate import (
    Denoised,
    PromptFiles,
    Request,
    batches,
    drawing,
    generate,
    generate_each,
    make_plan,
    unfinished,
)
from limner.infotext import parse_infotext
from limner.sample import make_scheduler
from limner.samplers import find_sampler
from limner.weights import Weights

REQUEST = Request("a photo of a cat", steps=3, seed=7)
RANK = 4


@pytest.fixture(scope="module")
def base(tiny_folder: Path) -> BaseModel:
    return open_base(tiny_folder, torch.device("cpu"), torch.float32)


def random_lora(model: BaseModel, seed: int) -> Weights:
    """A LoRA of the attention and MLP layers of both networks, strong enough to be seen."""
    drawn = torch.Generator().manual_seed(seed)
    tensors = {}
    for network in ("unet", "text_encoder"):
        for name, module in model.networks[network].named_modules():
            if isinstance(module, nn.Linear) and re.search(r"attn|mlp|\bff\b", name):
                down = torch.randn(RANK, module.in_features, generator=drawn) / module.in_features**0.5
                up = torch.randn(module.out_features, RANK, generator=drawn) * 0.2
                tensors[f"{network}.{name}.lora_down"], tensors[f"{network}.{name}.lora_up"] = down, up
                tensors[f"{network}.{name}.alpha"] = torch.tensor(2.0)
    return Weights("lora", "sd1", tensors)


@pytest.fixture(scope="module")
def lora_folder(base: BaseModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("Lora")
    save_weights(random_lora(base, 1), folder / "one.safetensors", dtype=torch.float32)
    save_weights(random_lora(base, 2), folder / "deep" / "two.safetensors", dtype=torch.float32)
    return folder


def pixels(model: BaseModel, request: Request, loras: PromptFiles | None = None) -> np.ndarray:
    return np.stack([np.asarray(made.image).astype(int) for made in generate(model, request, loras)])


def bits(model: BaseModel) -> dict[str, torch.Tensor]:
    networks = model.networks.items()
    return {f"{part}.{name}": value.clone() for part, net in networks for name, value in net.state_dict().items()}


def same_bits(model: BaseModel, before: dict[str, torch.Tensor]) -> bool:
    after = bits(model)
    return before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("sampler", ["DPM++ 2M", "Euler a", "DDIM", "UniPC"])
def test_pictures_are_those_of_diffusers(tiny_folder: Path, base: BaseModel, sampler: str) -> None:
    request = replace(REQUEST, sampler=sampler, negative_prompt="blurry", count=2, batch_size=2)
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = make_scheduler(base, *find_sampler(sampler))
    theirs = pipeline(
        [request.prompt] * 2,
        negative_prompt=["blurry"] * 2,
        num_inference_steps=request.steps,
        guidance_scale=request.cfg_scale,
        generator=[torch.Generator().manual_seed(seed) for seed in (7, 8)],
    ).images
    difference = np.abs(pixels(base, request) - np.stack([np.asarray(image).astype(int) for image in theirs]))
    assert difference.max() <= 1


def test_one_seed_is_one_picture_and_the_next_image_has_the_next_seed(base: BaseModel) -> None:
    request = replace(REQUEST, count=3, batch_size=2)
    made = list(generate(base, request))
    assert [each.seed for each in made] == [7, 8, 9]
    assert np.array_equal(pixels(base, request), pixels(base, request))
    alone = pixels(base, replace(REQUEST, seed=9))
    assert np.abs(np.asarray(made[2].image).astype(int) - alone[0]).max() <= 1


def test_a_random_seed_is_told_and_repeats_the_picture(base: BaseModel) -> None:
    (made,) = generate(base, replace(REQUEST, seed=-1))
    assert made.seed >= 0
    assert np.array_equal(np.asarray(made.image), pixels(base, replace(REQUEST, seed=made.seed))[0])


def test_sizes_are_the_bases_or_the_requests(base: BaseModel) -> None:
    assert pixels(base, REQUEST).shape == (1, 64, 64, 3)
    assert pixels(base, replace(REQUEST, width=72, height=136)).shape == (1, 136, 72, 3)


@pytest.mark.parametrize(
    "prompt",
    ["a (cat:1.5)", "a [cat]", "a [cat:dog:0.5]", "a [cat|dog]", "a cat AND a dog :0.5", "a cat BREAK a dog", "(a cat"],
)
def test_the_grammar_reaches_the_picture(base: BaseModel, prompt: str) -> None:
    plain = pixels(base, replace(REQUEST, prompt="a cat"))
    assert not np.array_equal(pixels(base, replace(REQUEST, prompt=prompt)), plain)


@pytest.mark.parametrize(
    "change",
    [{"negative_prompt": "dog"}, {"cfg_scale": 3.0}, {"steps": 4}, {"clip_skip": 2}, {"schedule": "Exponential"}],
)
def test_every_setting_reaches_the_picture(base: BaseModel, change: dict) -> None:
    assert not np.array_equal(pixels(base, replace(REQUEST, **change)), pixels(base, REQUEST))


def test_nothing_global_is_touched(base: BaseModel) -> None:
    torch.manual_seed(3)
    state = torch.get_rng_state()
    made = generate(base, replace(REQUEST, seed=-1, sampler="Euler a"))
    assert torch.is_grad_enabled()
    next(made)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.is_grad_enabled()


def test_a_base_in_bfloat16_draws_nearly_the_same(tiny_folder: Path, base: BaseModel) -> None:
    half = open_base(tiny_folder, torch.device("cpu"), torch.bfloat16)
    request = replace(REQUEST, prompt="a (cat:1.3)", sampler="Euler a")
    assert np.abs(pixels(half, request) - pixels(base, request)).mean() < 8


def test_the_infotext_tells_how_to_repeat_it(base: BaseModel, lora_folder: Path) -> None:
    request = replace(REQUEST, prompt="a cat <lora:one:0.5>", negative_prompt="dog", clip_skip=2)
    (made,) = generate(base, request, PromptFiles(lora_folder))
    text = parse_infotext(made.infotext)
    assert (text.prompt, text.negative_prompt) == (request.prompt, "dog")
    expected = {
        "Steps": "3",
        "Sampler": "DPM++ 2M",
        "Schedule type": "Karras",
        "CFG scale": "7",
        "Seed": "7",
        "Size": "64x64",
        "Model hash": base.fingerprint[:10],
        "Model": "tiny",
        "Clip skip": "2",
        "RNG": "CPU",
    }
    assert {name: text.settings[name] for name in expected} == expected
    assert re.fullmatch(r"one: [0-9a-f]{12}", text.settings["Lora hashes"])
    assert text.settings["Version"].startswith("limner ")


# --- LoRAs ---


def test_strength_0_is_the_bases_picture_and_others_are_not(base: BaseModel, lora_folder: Path) -> None:
    loras = PromptFiles(lora_folder)
    plain = pixels(base, REQUEST)
    assert np.array_equal(pixels(base, replace(REQUEST, prompt=REQUEST.prompt + "<lora:one:0>"), loras), plain)
    pictures = [plain]
    for tag in ("<lora:one:1>", "<lora:one:-1>", "<lora:one:1:0>", "<lora:one:0:1>", "<lora:one:1:1:2>"):
        pictures.append(pixels(base, replace(REQUEST, prompt=REQUEST.prompt + tag), loras))
        assert not any(np.array_equal(pictures[-1], other) for other in pictures[:-1]), tag


def test_several_add_up(base: BaseModel, lora_folder: Path) -> None:
    loras = PromptFiles(lora_folder)

    def picture(tags: str) -> np.ndarray:
        return pixels(base, replace(REQUEST, prompt=REQUEST.prompt + tags), loras)

    assert np.abs(picture("<lora:one:0.5><lora:one:0.5>") - picture("<lora:one:1>")).max() <= 1
    both = picture("<lora:one:1><lora:two:1>")
    assert not any(np.array_equal(both, picture(tag)) for tag in ("<lora:one:1>", "<lora:two:1>"))


def test_the_base_is_itself_between_pictures_and_after_a_failure(
    base: BaseModel, lora_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = bits(base)
    request = replace(REQUEST, prompt="a cat <lora:one:1> <lora:two:-0.3>", count=2)
    made = generate(base, request, PromptFiles(lora_folder))
    next(made)
    assert same_bits(base, before)
    monkeypatch.setattr(base, "decode", lambda latents: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        next(made)
    assert same_bits(base, before)


def test_the_same_file_through_diffusers_gives_the_same_picture(
    tiny_folder: Path, base: BaseModel, lora_folder: Path
) -> None:
    ours = pixels(base, replace(REQUEST, prompt=REQUEST.prompt + "<lora:one:1>"), PromptFiles(lora_folder))
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(lora_folder / "one.safetensors")
    pipeline.scheduler = make_scheduler(base, *find_sampler("DPM++ 2M"))
    (theirs,) = pipeline(
        REQUEST.prompt,
        num_inference_steps=REQUEST.steps,
        guidance_scale=REQUEST.cfg_scale,
        generator=torch.Generator().manual_seed(7),
    ).images
    assert np.abs(ours[0] - np.asarray(theirs).astype(int)).max() <= 1


def test_names_are_stems_and_unique_output_names(base: BaseModel, tmp_path: Path) -> None:
    weights = random_lora(base, 1)
    for stem in ("a", "sub/b", ".hidden"):
        save_weights(weights, tmp_path / f"{stem}.safetensors")
    (tmp_path / "sub" / "b.safetensors").rename(tmp_path / "sub" / "c.safetensors")  # b is now only its output name
    (tmp_path / "broken.safetensors").write_text("nothing")
    loras = PromptFiles(tmp_path)
    assert loras.loras() == ["a", "broken", "c"]
    assert loras.find_lora("c") == loras.find_lora("b") == tmp_path / "sub" / "c.safetensors"
    save_weights(weights, tmp_path / "sub" / "a.safetensors")
    with pytest.raises(UserError, match="rename one"):
        PromptFiles(tmp_path).find_lora("a")
    assert PromptFiles(tmp_path / "a.safetensors").find_lora("a") == tmp_path / "a.safetensors"


def test_a_link_out_of_the_folder_is_not_followed(base: BaseModel, tmp_path: Path) -> None:
    save_weights(random_lora(base, 1), tmp_path / "outside" / "x.safetensors")
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "x.safetensors").symlink_to(tmp_path / "outside" / "x.safetensors")
    assert PromptFiles(tmp_path / "inside").loras() == []


# --- what cannot be done ---


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("a <lora:nope:1>", "'nope'"),
        ("a <lora:ome:1>", "did you mean <lora:one>"),
        ("a <lora:../../one:1>", "'../../one'"),
        ("a <lora:/etc/passwd:1>", "'/etc/passwd'"),
        ("a <lora:deep/../one:1>", "'deep/../one'"),
        ("a <lora:one:much>", "<lora:one:much>"),
        ("a <hypernet:one:1>", "<hypernet:one:1>"),
    ],
)
def test_a_tag_that_means_nothing_is_an_error_before_any_work(
    base: BaseModel, lora_folder: Path, prompt: str, said: str
) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        generate(base, replace(REQUEST, prompt=prompt), PromptFiles(lora_folder))


def test_without_folders_no_lora_is_known(base: BaseModel, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there are no LoRAs"):
        generate(base, replace(REQUEST, prompt="<lora:x:1>"))
    with pytest.raises(UserError, match="missing"):
        PromptFiles(tmp_path / "missing")


def test_a_lora_of_another_family_is_an_error_that_names_both(base: BaseModel, tmp_path: Path) -> None:
    save_weights(random_lora(base, 1), tmp_path / "x.safetensors")
    other = copy.copy(base)
    other.family = replace(base.family, name="sd2", title="Stable Diffusion 2.x")
    with pytest.raises(UserError, match=r"x\.safetensors was made for sd1, not for Stable Diffusion 2.x"):
        generate(other, replace(REQUEST, prompt="<lora:x:1>"), PromptFiles(tmp_path))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"width": 100}, "width 100"),
        ({"height": 0}, "height 0"),
        ({"width": 8192}, "width 8192"),
        ({"steps": 0}, "steps 0"),
        ({"steps": 51, "sampler": "LCM"}, "from 1 to 50"),
        ({"count": 0}, "count 0"),
        ({"batch_size": -1}, "batch_size -1"),
        ({"clip_skip": 3}, "from 1 to 2"),
        ({"seed": -2}, "seed -2"),
        ({"cfg_scale": float("nan")}, "cfg_scale nan"),
        ({"sampler": "Eulr"}, "'Euler'"),
        ({"schedule": "Karas"}, "Karras"),
    ],
)
def test_a_setting_that_will_not_do_is_named(base: BaseModel, change: dict, said: str) -> None:
    with pytest.raises(UserError, match=re.escape(said)):
        make_plan(base, replace(REQUEST, **change), PromptFiles())


def test_a_picture_of_no_numbers_is_an_error(base: BaseModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base, "decode", lambda latents: torch.full((1, 3, 64, 64), float("nan")))
    with pytest.raises(UserError, match="fp32"):
        list(generate(base, REQUEST))


def test_pictures_of_different_prompts_in_one_batch_are_those_of_single_ones(tiny_base: BaseModel) -> None:
    requests = [Request(prompt, steps=2, seed=seed) for prompt, seed in (("a cat", 3), ("a (red:1.3) dog", 4))]
    together = generate_each(tiny_base, requests)
    for one, request in zip(together, requests, strict=True):
        (alone,) = generate(tiny_base, request)
        assert (one.seed, one.infotext) == (alone.seed, alone.infotext)
        assert np.abs(np.asarray(one.image, int) - np.asarray(alone.image, int)).max() <= 1
    assert together[0].image.tobytes() != together[1].image.tobytes()


def test_prompts_that_cannot_share_a_batch_are_drawn_one_by_one(tiny_base: BaseModel) -> None:
    requests = [Request(prompt, steps=2, seed=1) for prompt in ("a cat AND a dog", "[a cat:a dog:1]", "a cat")]
    for one, request in zip(generate_each(tiny_base, requests), requests, strict=True):
        (alone,) = generate(tiny_base, request)
        assert one.image.tobytes() == alone.image.tobytes()


# --- step by step ---


@pytest.mark.parametrize("sampler", ["DPM++ 2M", "Euler a", "Heun", "DPM2 a", "DDIM", "UniPC", "LCM"])
def test_each_step_is_told_and_the_last_is_all_but_the_picture(base: BaseModel, sampler: str) -> None:
    plan = make_plan(base, replace(REQUEST, sampler=sampler, steps=4), PromptFiles())
    steps, pictures = steps_of(drawing(base, plan, range(1)))
    assert [each.steps for each in steps] == [4] * len(steps)
    assert list(dict.fromkeys(each.step for each in steps)) == [1, 2, 3, 4]
    (picture,) = unfinished(base, plan, range(1), steps[-1])
    assert parse_infotext(picture.infotext).settings["Stopped at step"] == "4"
    difference = np.asarray(picture.image, int) - np.asarray(pictures[0].image, int)
    early = unfinished(base, plan, range(1), steps[0])[0]
    further = np.asarray(early.image, int) - np.asarray(pictures[0].image, int)
    assert np.abs(difference).mean() < np.abs(further).mean() / 2 + 1


def steps_of(events) -> tuple[list[Denoised], list]:
    steps = []
    while True:
        try:
            steps.append(next(events))
        except StopIteration as end:
            return steps, end.value


def test_batches_can_be_left_between_two_steps(base: BaseModel, lora_folder: Path) -> None:
    before = bits(base)
    request = replace(REQUEST, prompt="a cat <lora:one:1>", count=3, batch_size=2)
    plan = make_plan(base, request, PromptFiles(lora_folder))
    assert list(batches(plan)) == [range(2), range(2, 3)]
    events = drawing(base, plan, range(2))
    next(events)
    assert torch.is_grad_enabled()
    assert not same_bits(base, before)
    events.close()
    assert same_bits(base, before)
    _, (third,) = steps_of(drawing(base, plan, range(2, 3)))
    assert (third.seed, third.image) == (9, list(generate(base, request, PromptFiles(lora_folder)))[2].image)
