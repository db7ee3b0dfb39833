"""Samplers against diffusers' own pipeline, names, and what the prompt's timed parts do to sampling."""

from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.errors import UserError
from limner.guidance import encode, encode_timeline
from limner.prompt import Part
from limner.sample import draw_noise, make_scheduler, sample
from limner.samplers import SAMPLERS, find_sampler

PROMPT, NEGATIVE = "a photo of a cat", "blurry"


@torch.no_grad()
def latents_of(model: BaseModel, sampler: str, seeds: list[int], steps: int = 5, prompt: str = PROMPT) -> torch.Tensor:
    name, schedule = find_sampler(sampler)
    noise, generators = draw_noise(seeds, 8, 8, 4)
    calls = steps * SAMPLERS[name].calls_per_step
    guidance = encode(model, [Part(prompt)], NEGATIVE, 7.0, calls)
    return sample(model, guidance, make_scheduler(model, name, schedule), steps, noise, generators)


@pytest.fixture(scope="module")
def base(tiny_folder: Path) -> BaseModel:
    """The tiny base, which no test here changes."""
    return open_base(tiny_folder, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def pipeline(tiny_folder: Path, base: BaseModel) -> StableDiffusionPipeline:
    """diffusers' pipeline over the same networks, so that only what Limner does itself can differ."""
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None, **base.networks)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


@pytest.mark.parametrize(
    "sampler", [*SAMPLERS, "Euler Karras", "DPM++ 2M Exponential", "UniPC Karras", "Euler a SGM Uniform"]
)
def test_latents_are_those_of_diffusers_pipeline(
    base: BaseModel, pipeline: StableDiffusionPipeline, sampler: str
) -> None:
    words = sampler.split()
    names = find_sampler(sampler) if "SGM" not in words else find_sampler("Euler a", "SGM Uniform")
    noise, generators = draw_noise([5, 6], 8, 8, 4)
    calls = 4 * SAMPLERS[names[0]].calls_per_step
    with torch.no_grad():
        guidance = encode(base, [Part(PROMPT)], NEGATIVE, 7.0, calls)
        ours = sample(base, guidance, make_scheduler(base, *names), 4, noise, generators)
    pipeline.scheduler = make_scheduler(base, *names)
    theirs = pipeline(
        [PROMPT] * 2,
        negative_prompt=[NEGATIVE] * 2,
        num_inference_steps=4,
        guidance_scale=7.0,
        height=64,
        width=64,
        generator=[torch.Generator().manual_seed(seed) for seed in (5, 6)],
        output_type="latent",
    ).images
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("sampler", ["DPM++ 2M", "DPM++ 2M SDE", "Euler a", "DPM2 a", "PLMS", "LCM"])
def test_a_picture_does_not_depend_on_its_batch(base: BaseModel, sampler: str) -> None:
    together = latents_of(base, sampler, [1, 2, 3], steps=4)
    alone = latents_of(base, sampler, [2], steps=4)
    torch.testing.assert_close(together[1:2], alone, rtol=1e-3, atol=1e-3)
    assert (together[0] - together[1]).abs().max() > 0.1


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize("steps", [1, 2])
def test_one_and_two_steps_are_enough(base: BaseModel, sampler: str, steps: int) -> None:
    assert torch.isfinite(latents_of(base, sampler, [1], steps)).all()


def test_names_are_the_webuis() -> None:
    assert find_sampler("DPM++ 2M") == ("DPM++ 2M", "Karras")
    assert find_sampler("dpm++ 2m karras") == ("DPM++ 2M", "Karras")
    assert find_sampler("DPM++ 2M SDE") == ("DPM++ 2M SDE", "Exponential")
    assert find_sampler("Euler a", "automatic") == ("Euler a", "Uniform")
    assert find_sampler("k_euler", "sgm_uniform") == ("Euler", "SGM Uniform")
    assert find_sampler("Euler Karras", "Exponential") == ("Euler", "Exponential")
    assert find_sampler("ddim") == ("DDIM", None)


@pytest.mark.parametrize(
    ("sampler", "schedule", "said"),
    [
        ("Eulr", "Automatic", "'Euler'"),
        ("qqq", "Automatic", "DPM\\+\\+ 2M"),
        ("Euler", "Bend", "SGM Uniform"),
        ("DDIM", "Karras", "schedule of its own"),
        ("Euler a", "Karras", "Uniform, SGM Uniform"),
    ],
)
def test_wrong_names_are_errors_that_say_what_there_is(sampler: str, schedule: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        find_sampler(sampler, schedule)


@torch.no_grad()
def test_plain_prompts_are_encoded_as_diffusers_does(base: BaseModel, pipeline: StableDiffusionPipeline) -> None:
    ours = encode_timeline(base, PROMPT, 20).at(0).hidden_states
    theirs, _ = pipeline.encode_prompt(PROMPT, torch.device("cpu"), 1, False)
    assert torch.equal(ours, theirs)


@torch.no_grad()
def test_clip_skip_takes_an_earlier_layer_and_the_final_norm(base: BaseModel) -> None:
    encoder = base.networks["text_encoder"]
    tokens = torch.tensor(base.chunk(base.pieces(PROMPT)))
    expected = encoder.final_layer_norm(encoder(tokens, output_hidden_states=True).hidden_states[-2])
    assert torch.equal(encode_timeline(base, PROMPT, 20, clip_skip=2).at(0).hidden_states, expected)


@torch.no_grad()
@pytest.mark.parametrize("bias", [0.3, 0.0])
def test_emphasis_scales_its_tokens_and_restores_the_mean(tiny_base: BaseModel, bias: float) -> None:
    tiny_base.networks["text_encoder"].final_layer_norm.bias.fill_(bias)  # as it is, the tiny base has a mean of 0
    plain = encode_timeline(tiny_base, "a cat, a dog", 20).at(0).hidden_states
    strong = encode_timeline(tiny_base, "a (cat:1.5), a dog", 20).at(0).hidden_states
    expected = plain.clone()
    expected[:, 2] *= 1.5  # place 0 is the start mark, 1 is "a"
    scale = plain.mean() / expected.mean() if bias else 1.0
    torch.testing.assert_close(strong, expected * scale)


@torch.no_grad()
def test_the_mean_is_restored_over_all_texts_of_a_timeline(tiny_base: BaseModel) -> None:
    tiny_base.networks["text_encoder"].final_layer_norm.bias.fill_(0.3)
    cat, dog = (encode_timeline(tiny_base, text, 10).at(0).hidden_states for text in ("a cat", "a dog"))
    emphasised = cat.clone()
    emphasised[:, 2] *= 1.5
    edited = encode_timeline(tiny_base, "a [(cat:1.5):dog:3]", 10)
    scale = (cat.mean() + dog.mean()) / (emphasised.mean() + dog.mean())
    torch.testing.assert_close(edited.at(0).hidden_states, emphasised * scale)
    torch.testing.assert_close(edited.at(9).hidden_states, dog * scale)


@torch.no_grad()
def test_long_prompts_and_breaks_make_chunks_of_77(base: BaseModel) -> None:
    assert encode_timeline(base, "a BREAK b", 20).at(0).hidden_states.shape == (1, 154, 32)
    long = encode_timeline(base, "cat " * 160, 20).at(0).hidden_states
    assert long.shape == (1, 231, 32)
    two = encode_timeline(base, "a BREAK b", 20).at(0).hidden_states
    assert torch.equal(two[:, :77], encode_timeline(base, "a", 20).at(0).hidden_states)
    torch.testing.assert_close(two[:, 77:], encode_timeline(base, "b", 20).at(0).hidden_states)


@torch.no_grad()
def test_timed_edits_change_the_conditioning_when_the_webui_does(base: BaseModel) -> None:
    cat, dog = (encode_timeline(base, text, 10).at(0).hidden_states for text in ("a cat", "a dog"))
    edited = encode_timeline(base, "a [cat:dog:3]", 10)
    shown = ["cat" if torch.allclose(edited.at(call).hidden_states, cat, atol=1e-6) else "dog" for call in range(10)]
    assert shown == ["cat"] * 4 + ["dog"] * 6
    torch.testing.assert_close(edited.at(9).hidden_states, dog)
    turns = encode_timeline(base, "a [cat|dog]", 6)
    shown = ["cat" if torch.allclose(turns.at(call).hidden_states, cat, atol=1e-6) else "dog" for call in range(6)]
    assert shown == ["cat", "cat", "dog", "cat", "dog", "cat"]


@torch.no_grad()
def test_and_adds_weighted_directions(base: BaseModel) -> None:
    latents, _ = draw_noise([3], 8, 8, 4)
    timestep = torch.tensor(500)

    def predict(*parts: Part, cfg: float = 7.0) -> torch.Tensor:
        return encode(base, list(parts), NEGATIVE, cfg, 10).predict(base, latents, timestep, 0)

    cat, dog = (predict(Part(text), cfg=1.0) for text in ("a cat", "a dog"))
    uncond = encode(base, [Part(NEGATIVE)], "", 1.0, 10).predict(base, latents, timestep, 0)
    expected = uncond + 7 * 1.2 * (cat - uncond) - 7 * 0.5 * (dog - uncond)
    torch.testing.assert_close(predict(Part("a cat", 1.2), Part("a dog", -0.5)), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(predict(Part("a cat"), Part("a dog", 0.0)), predict(Part("a cat")), rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_parts_and_negative_prompts_may_differ_in_length(base: BaseModel) -> None:
    latents, _ = draw_noise([3], 8, 8, 4)
    guidance = encode(base, [Part("a cat"), Part("a dog BREAK b")], "a BREAK b BREAK c", 7.0, 10)
    assert guidance.predict(base, latents, torch.tensor(500), 0).shape == latents.shape


def test_all_of_a_prediction_type_goes_to_the_scheduler(tiny_base: BaseModel) -> None:
    tiny_base.scheduler_config["prediction_type"] = "v_prediction"
    for name in SAMPLERS:
        scheduler = make_scheduler(tiny_base, *find_sampler(name))
        assert scheduler.config.prediction_type == "v_prediction"
        assert scheduler.config.beta_end == 0.012
        torch.testing.assert_close(scheduler.alphas_cumprod, tiny_base.alphas_cumprod)
