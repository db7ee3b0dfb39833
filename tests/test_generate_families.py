"""Pictures of every family are diffusers' own: sizes and pooled texts told, kinds of prediction, the autoencoder."""

import functools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bases import save_tiny
from diffusers import DiffusionPipeline
from PIL import Image

from limner.base.conditioning import Conditioning
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.diffusion import prediction_target, signal_levels
from limner.errors import UserError
from limner.generate import Request, generate, make_plan
from limner.guidance import encode, encode_timeline
from limner.named import PromptFiles
from limner.prompt import Part
from limner.sample import draw_noise, make_scheduler, sample
from limner.samplers import SAMPLERS, find_sampler

REQUEST = Request("a photo of a cat", "blurry", steps=3, seed=7, width=80, height=64, count=2, batch_size=2)
# family, what it predicts, whether its last timestep is pure noise
KINDS = {
    "epsilon": ("sdxl", "epsilon", False),
    "v": ("sd2", "v_prediction", False),
    "ztsnr": ("sdxl", "v_prediction", True),
}
Opened = Callable[[str], tuple[Path, BaseModel]]


@pytest.fixture(scope="module")
def kinds(tmp_path_factory: pytest.TempPathFactory) -> Opened:
    """kinds("v"): a tiny base of one of KINDS, its folder and itself; no test here changes it."""

    @functools.cache
    def opened(kind: str) -> tuple[Path, BaseModel]:
        family, prediction, is_noise_at_last = KINDS[kind]
        folder = save_tiny(family, tmp_path_factory.mktemp("kind") / kind, prediction)
        path = folder / "scheduler" / "scheduler_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"rescale_betas_zero_snr": is_noise_at_last}))
        return folder, open_base(folder, torch.device("cpu"), torch.float32)

    return opened


def levels(pictures: list[Image.Image]) -> np.ndarray:
    return np.stack([np.asarray(picture).astype(int) for picture in pictures])


@pytest.mark.parametrize("negative", ["blurry", ""])
@pytest.mark.parametrize("kind", KINDS)
def test_pictures_are_those_of_diffusers(kinds: Opened, kind: str, negative: str) -> None:
    folder, base = kinds(kind)
    request = replace(REQUEST, sampler="Euler", negative_prompt=negative)
    pipeline = DiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.scheduler = make_scheduler(base, *find_sampler("Euler"))
    theirs = pipeline(
        [request.prompt] * 2,
        negative_prompt=[negative] * 2 if negative else None,  # None is what diffusers tells as zeros for XL
        num_inference_steps=3,
        guidance_scale=7.0,
        width=80,
        height=64,
        generator=[torch.Generator().manual_seed(seed) for seed in (7, 8)],
    ).images
    ours = levels([made.image for made in generate(base, request)])
    assert np.abs(ours - levels(theirs)).max() <= 1
    other = levels([made.image for made in generate(base, replace(request, negative_prompt="a dog"))])
    assert np.abs(other - ours).max() > 1


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("kind", KINDS)
def test_every_sampler_finds_what_the_network_is_sure_of(kinds: Opened, kind: str, sampler: str) -> None:
    """With a network that always answers as if the picture were one certain one, that one is drawn."""
    _, base = kinds(kind)
    wanted = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(3))
    signals = base.alphas_cumprod.double()
    log_sigmas = ((1 - signals) / signals.clamp(min=2**-24)).log() / 2
    asked = []

    def answer(latents: torch.Tensor, timesteps: torch.Tensor, told: Conditioning) -> torch.Tensor:
        asked.append(float(timesteps[0]))
        low = int(asked[-1])
        between = torch.lerp(log_sigmas[low], log_sigmas[min(low + 1, 999)], asked[-1] - low)
        signal = 1 / (1 + (2 * between).exp()) if signals[low] > 0 else signals[low]
        noise = (latents.double() - signal.sqrt() * wanted) / (1 - signal).sqrt()
        return prediction_target(wanted.double(), noise, signal, base.prediction_type).float()

    certain = BaseModel(
        base.family, base.name, "", base.networks, base.tokenizers, base.scheduler_config, base.alphas_cumprod
    )
    certain.predict = answer  # type: ignore[method-assign]
    for schedule in SAMPLERS[sampler].schedules or [None]:
        with torch.no_grad():
            guidance = encode(base, [Part("a")], "", 1.0, 20 * SAMPLERS[sampler].calls_per_step)
            found = sample(certain, guidance, make_scheduler(certain, sampler, schedule), 20, *draw_noise([1], 8, 8, 4))
        # what ends at the last trained noise level leaves that much of it
        assert (found - wanted).abs().mean() < 0.03
    if KINDS[kind][2] and sampler != "PLMS":  # which cannot begin with a step of no signal
        assert asked[0] >= 998


@pytest.mark.parametrize("kind", KINDS)
def test_levels_of_a_base_with_pure_noise_at_last_need_no_rescaling(kinds: Opened, kind: str) -> None:
    _, base = kinds(kind)
    if base.prediction_type == "epsilon":
        with pytest.raises(UserError, match="predicts the noise"):
            signal_levels(base, zero_terminal_snr=True)
        return
    rescaled = signal_levels(base, zero_terminal_snr=True)
    assert rescaled[-1] == 0
    if KINDS[kind][2]:
        torch.testing.assert_close(rescaled, base.alphas_cumprod)


# --- what XL is told ---


def told(base: BaseModel, text: str, call: int = 0, steps: int = 10) -> Conditioning:
    with torch.no_grad():
        return encode_timeline(base, text, steps).at(call)


def test_emphasis_restores_each_encoders_own_mean_and_leaves_the_pooled_state(kinds: Opened) -> None:
    _, base = kinds("epsilon")
    plain, strong = told(base, "a cat, a dog"), told(base, "a (cat:1.5), a dog")
    widths = [base.networks[name].config.hidden_size for name in ("text_encoder", "text_encoder_2")]
    expected = []
    for states in plain.hidden_states.split(widths, dim=-1):
        louder = states.clone()
        louder[:, 2] *= 1.5
        expected.append(louder * (states.mean() / louder.mean()))
    torch.testing.assert_close(strong.hidden_states, torch.cat(expected, dim=-1))
    assert torch.equal(strong.pooled, plain.pooled)


def test_the_pooled_state_is_that_of_the_first_chunk(kinds: Opened) -> None:
    _, base = kinds("epsilon")
    both = told(base, "a cat BREAK a dog")
    assert both.hidden_states.shape[1] == 154
    torch.testing.assert_close(both.pooled, told(base, "a cat").pooled)
    assert not torch.allclose(both.pooled, told(base, "a dog").pooled)


def test_timed_edits_change_the_pooled_state_too(kinds: Opened) -> None:
    _, base = kinds("epsilon")
    torch.testing.assert_close(told(base, "a [cat:dog:3]", 0).pooled, told(base, "a cat").pooled)
    torch.testing.assert_close(told(base, "a [cat:dog:3]", 9).pooled, told(base, "a dog").pooled)
    torch.testing.assert_close(told(base, "a [cat|dog]", 2).pooled, told(base, "a dog").pooled)


@torch.no_grad()
def test_and_adds_directions_each_with_its_own_pooled_state(kinds: Opened) -> None:
    _, base = kinds("epsilon")
    latents, _ = draw_noise([3], 8, 8, 4)

    def predict(*parts: Part, cfg: float = 7.0, negative: str = "blurry") -> torch.Tensor:
        return encode(base, list(parts), negative, cfg, 10).predict(base, latents, torch.tensor(500), 0)

    cat, dog, negative = (predict(Part(text), cfg=1.0) for text in ("a cat", "a dog", "blurry"))
    expected = negative + 7 * 1.2 * (cat - negative) - 7 * 0.5 * (dog - negative)
    got = predict(Part("a cat", 1.2), Part("a dog", -0.5))
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    assert predict(Part("a cat"), Part("a dog BREAK b")).shape == latents.shape
    long_negative = predict(Part("a cat"), negative="blurry BREAK c")
    assert long_negative.shape == latents.shape


@torch.no_grad()
def test_no_text_is_zeros_for_xl_and_an_empty_text_for_others(kinds: Opened, tiny_base: BaseModel) -> None:
    _, base = kinds("epsilon")
    for one in (encode(base, [Part("a")], "", 7.0, 3).negative.at(0), base.encode_prompts(["a", ""]).rows()[1]):
        assert all(not tensor.any() for tensor in one.tensors.values())
    assert base.encode_prompts(["a", ""]).rows()[0].hidden_states.any()
    assert encode(base, [Part("")], "", 7.0, 3).parts[0][0].at(0).hidden_states.any()
    assert encode(tiny_base, [Part("a")], "", 7.0, 3).negative.at(0).hidden_states.any()


def test_clip_skip_is_bounded_by_the_shallowest_encoder_and_does_nothing_to_xl(kinds: Opened) -> None:
    _, base = kinds("epsilon")
    with pytest.raises(UserError, match="clip_skip 3"):
        make_plan(base, replace(REQUEST, clip_skip=3), PromptFiles())
    with torch.no_grad():
        one, two = (encode_timeline(base, "a cat", 3, clip_skip=skip).at(0) for skip in (1, 2))
    assert torch.equal(one.hidden_states, two.hidden_states)


# --- an autoencoder that overflows in half precision ---


def outsized(base: BaseModel) -> None:
    """Give the decoder values beyond float16's range in its middle, which the rest divides away again."""
    decoder = base.networks["vae"].decoder
    decoder.conv_in.weight.data.mul_(3e4)
    decoder.conv_in.bias.data.mul_(3e4)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["epsilon", "v"])
def test_a_half_precision_autoencoder_that_overflows_is_computed_in_float32(kinds: Opened, kind: str) -> None:
    folder, _ = kinds(kind)
    half = open_base(folder, torch.device("cpu"), torch.float16)
    outsized(half)
    half.networks["vae"].config.force_upcast = False  # nobody has warned of it
    latents = 100 * torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    vae = half.networks["vae"]
    before = {name: value.clone() for name, value in vae.state_dict().items()}
    assert not vae.decode(latents.half() / vae.config.scaling_factor).sample.isfinite().all()
    pixels = half.decode(latents)
    assert vae.dtype == torch.float16
    assert all(torch.equal(value, before[name]) for name, value in vae.state_dict().items())
    wide = open_base(folder, torch.device("cpu"), torch.float32)
    outsized(wide)
    assert pixels.isfinite().all()
    torch.testing.assert_close(pixels.float(), wide.decode(latents), atol=0.02, rtol=0.02)


@torch.no_grad()
def test_xls_autoencoder_is_upcast_from_float16_where_its_file_says_so(kinds: Opened) -> None:
    folder, _ = kinds("epsilon")
    half = open_base(folder, torch.device("cpu"), torch.float16)
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    assert half.networks["vae"].config.force_upcast
    assert half.decode(latents).dtype == torch.float32
    assert half.encode_images(torch.zeros(1, 3, 64, 64)).dtype == torch.float32
    half.networks["vae"].register_to_config(force_upcast=False)
    assert half.decode(latents).dtype == torch.float16
