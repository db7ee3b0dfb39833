"""The UNet: trained on the latents of composed scenes, with the frozen autoencoder and text encoder."""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextModel, CLIPTokenizer

from recipes.pocket import BUILD, SHIPPED, SIZE, autoencoder, clip
from recipes.pocket.icons import read_nouns
from recipes.pocket.scenes import Scene, draw_scene, render_scene
from recipes.pocket.styles import load_styled
from recipes.pocket.training import MasterAdamW, MasterMuon, compile_blocks, fit, is_done, trainings

FOLDER = BUILD / "unet"
PIPELINE = BUILD / "pipeline"
CAPTION_DROPOUT = 0.1
CHUNK, ENCODED = 2_000, 100  # rows of a cached array that are written, and encoded, at once
SNR_CAP = 5.0  # min-SNR weighting, arXiv 2303.09556


@dataclass(frozen=True)
class Phase:
    """steps of `batch` pictures, of the first `scenes` scenes of learned nouns.

    lift: up to how many times more noisy timesteps count, by the square root of noise over signal. With min-SNR alone
    their share of the loss is a few percent, though the shapes are decided there.
    """

    steps: int
    batch: int
    scenes: int
    lr: float = 8e-4
    weight_decay: float = 0.01
    lift: float = 1.0
    decay_share: float = 0.3
    optimizer: type[MasterAdamW] = MasterMuon


# AdamW while the picture is coarse, then Muon, on more scenes and larger batches. Each goes on from the average that
# the one before ended in. Version 4 is the last one: it goes on from version 3's shapes, with other styles, text
# encoder and autoencoder. Its scenes are drawn of learned nouns alone.
# What an image costs on one core, uncompiled (`python -m recipes.pocket.rate`): 115 ms at 32, 64 ms at 128; Muon adds
# 45 ms and 10 ms, AdamW 21 ms and 6 ms. So batches of 128, and Muon. The fused attention is no faster (118 ms at 32).
# Not tried, for want of a quiet core: shares of canonical scenes, other weightings and lengths of the average.
PHASES = {
    "unet": Phase(4_300, 32, 24_000, weight_decay=1e-3, optimizer=MasterAdamW),
    "unet-muon": Phase(3_600, 64, 80_000),
    "unet-details": Phase(1_500, 128, 80_000, lr=1e-3, lift=4.0, decay_share=0.45),
    "unet-styles": Phase(16_000, 128, 48_000, lr=1e-3, lift=4.0),
}


def new_unet() -> UNet2DConditionModel:
    """Stable Diffusion 1's UNet (four levels, two layers a block), a fifth as wide, attention heads of 32."""
    return UNet2DConditionModel(
        sample_size=SIZE // 8,
        block_out_channels=(64, 128, 192, 192),
        layers_per_block=2,
        attention_head_dim=(2, 4, 6, 6),
        cross_attention_dim=clip.WIDTH,
    )


def new_scheduler() -> DDIMScheduler:
    """Stable Diffusion 1's noise schedule."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
    )


def learned_scenes(count: int) -> list[Scene]:
    nouns = read_nouns().only_learned
    return [draw_scene(0, index, nouns) for index in range(count)]


def extended(path: Path, count: int, make: Callable[[int, int], np.ndarray]) -> np.ndarray:
    """The first `count` rows of an array in a file, opened as it lies there; missing ones are made and added.

    make: rows start to stop. They are written a chunk at a time, so that a stopped run goes on where it was.
    """
    row = make(0, 0)
    size = row.itemsize * int(np.prod(row.shape[1:]))
    path.parent.mkdir(parents=True, exist_ok=True)
    known = path.stat().st_size // size if path.exists() else 0
    begin = time.perf_counter()
    for start in range(known, count, CHUNK):
        rows = make(start, min(start + CHUNK, count))
        with path.open("r+b" if path.exists() else "wb") as file:
            file.seek(start * size)  # over what a kill left of a row
            file.write(rows.tobytes())
        print(f"{path.name}: {start + len(rows)} of {count}, {time.perf_counter() - begin:.0f} s", flush=True)
    return np.memmap(path, row.dtype, "r", shape=(count, *row.shape[1:]))


@torch.no_grad()
def cached_latents(scenes: list[Scene]) -> np.ndarray:
    """Scaled latents of the scenes, float16 (n, 4, 16, 16); encoded once, kept in the build folder, extended there."""
    vae = AutoencoderKL.from_pretrained(autoencoder.FOLDER / "vae").to(torch.bfloat16)
    vae.encoder.to(memory_format=torch.channels_last)
    compile_blocks(vae.encoder)
    icons = load_styled()

    def encode(start: int, stop: int) -> np.ndarray:
        latents = [np.empty((0, 4, SIZE // 8, SIZE // 8), np.float16)]
        for at in range(start, stop, ENCODED):
            pixels = np.stack([render_scene(scene, icons) for scene in scenes[at : min(at + ENCODED, stop)]])
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.bfloat16) / 127.5 - 1
            posterior = vae.encode(images.to(memory_format=torch.channels_last)).latent_dist
            latents.append((posterior.mean.float() * vae.config.scaling_factor).half().numpy())
        return np.concatenate(latents)

    return extended(FOLDER / "latents.f16", len(scenes), encode)


@torch.no_grad()
def cached_states(captions: list[str]) -> np.ndarray:
    """Text states of the captions, bfloat16 as int16 (n, 77, width)."""
    tokenizer = CLIPTokenizer.from_pretrained(SHIPPED / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(clip.FOLDER / "text_encoder").to(torch.bfloat16)

    def encode(start: int, stop: int) -> np.ndarray:
        states = [np.empty((0, 77, clip.WIDTH), np.int16)]
        for at in range(start, stop, ENCODED):
            texts = captions[at : min(at + ENCODED, stop)]
            tokens = tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt")
            states.append(encoder(tokens.input_ids).last_hidden_state.view(torch.int16).numpy())
        return np.concatenate(states)

    return extended(FOLDER / "states.bf16", len(captions), encode)


def train() -> UNet2DConditionModel:
    """All phases, each as far as it is not done."""
    torch.manual_seed(0)
    unet = new_unet().to(torch.bfloat16, memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())  # three plain products: the fused CPU kernel is slow at these sizes
    compile_blocks(unet)
    before = None
    for name, phase in PHASES.items():
        if not is_done(state_of(name), phase.steps):
            optimizer = phase.optimizer(unet.parameters(), weight_decay=phase.weight_decay, ema_decay=0.999)
            if before is not None:
                optimizer.start_from(state_of(before))
            learn(name, unet, optimizer, phase)
        before = name
    return unet


def state_of(name: str) -> Path:
    return FOLDER / f"{name}.state.pt"


def learn(name: str, unet: UNet2DConditionModel, optimizer: MasterAdamW, phase: Phase) -> None:
    scenes = learned_scenes(phase.scenes)
    latents = cached_latents(scenes)
    states = cached_states(["", *(scene.caption for scene in scenes)])  # scene n's is row n + 1
    alphas = new_scheduler().alphas_cumprod
    signal, noise_level = alphas.sqrt(), (1 - alphas).sqrt()
    snr = alphas / (1 - alphas)
    weights = (SNR_CAP / snr).clamp(max=1) * snr.rsqrt().clamp(1, phase.lift)
    batch = phase.batch

    def loss_of(rng: np.random.Generator) -> tuple[torch.Tensor, int]:
        chosen = rng.integers(len(latents), size=batch)
        kept = rng.random(batch) >= CAPTION_DROPOUT
        text = torch.from_numpy(states[np.where(kept, chosen + 1, 0)]).view(torch.bfloat16)
        offsets = (torch.arange(batch) + torch.from_numpy(rng.random(batch))) / batch  # stratified: less variance
        timesteps = (offsets * len(alphas)).long()
        clean = torch.from_numpy(latents[chosen]).float()
        noise = torch.randn(clean.shape)
        noisy = signal[timesteps].view(-1, 1, 1, 1) * clean + noise_level[timesteps].view(-1, 1, 1, 1) * noise
        noisy = noisy.to(torch.bfloat16, memory_format=torch.channels_last)
        predicted = unet(noisy, timesteps, text).sample.float()
        return (weights[timesteps] * F.mse_loss(predicted, noise, reduction="none").mean((1, 2, 3))).mean(), batch

    fit(name, FOLDER, loss_of, optimizer, phase.steps, phase.lr, decay_share=phase.decay_share)


def write_pipeline() -> None:
    """Write the averaged weights of the last save as a diffusers pipeline; it may be while the training goes on.

    Not with every save: on a busy machine it takes longer than the steps between two of them.
    """
    name = latest()
    state = torch.load(state_of(name), weights_only=True, mmap=True)
    plain = new_unet()
    with torch.no_grad():
        torch._foreach_copy_(list(plain.parameters()), state["optimizer"]["average"])
    phase = PHASES[name]
    save_pipeline(plain, {"phase": name, "batch": phase.batch, "scenes": phase.scenes, "steps": state["step"]})


def latest() -> str:
    """The last phase that has a state."""
    return next(name for name in reversed(PHASES) if state_of(name).exists())


def is_written() -> bool:
    """Whether the pipeline is of the last save, and of the decoder as it is so far."""
    made = PIPELINE / "recipe.json"
    sources = state_of(latest()), autoencoder.finished() / "config.json"
    return made.exists() and all(path.stat().st_mtime < made.stat().st_mtime for path in sources)


def save_pipeline(unet: UNet2DConditionModel, done: dict) -> None:
    """The pipeline's folder, replaced as a whole."""
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(autoencoder.finished()),
        text_encoder=CLIPTextModel.from_pretrained(clip.FOLDER / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(SHIPPED / "tokenizer"),
        unet=unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    partial = PIPELINE.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(partial)
    # transformers opens a model in the type that its configuration names, diffusers in float32: without this, a
    # pipeline opened without a type would mix both, and fail.
    text_config = partial / "text_encoder" / "config.json"
    text_config.write_text(text_config.read_text().replace('"float16"', '"float32"'))
    (partial / "recipe.json").write_text(json.dumps(done | {"trainings": trainings()}, indent=1) + "\n")
    shutil.rmtree(PIPELINE, ignore_errors=True)
    partial.rename(PIPELINE)


def run() -> None:
    train()
    FOLDER.joinpath("done").touch()


if __name__ == "__main__":
    run()
