"""The UNet: trained on the latents of composed scenes, with the frozen autoencoder and text encoder."""

import json
import shutil
import time

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from transformers import CLIPTextModel, CLIPTokenizer

from recipes.pocket import BUILD, SHIPPED, SIZE, autoencoder, clip
from recipes.pocket.icons import load_icons, read_nouns
from recipes.pocket.scenes import draw_scene, render_scene
from recipes.pocket.training import MasterAdamW, compile_blocks, fit

FOLDER = BUILD / "unet"
SCENES = 24_000
STEPS, BATCH, LR = 4_300, 32, 8e-4
CAPTION_DROPOUT = 0.1
SNR_CAP = 5.0  # min-SNR weighting, arXiv 2303.09556


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


@torch.no_grad()
def cached_latents() -> torch.Tensor:
    """Scaled latents of every scene, float16 (SCENES, 4, 16, 16); encoded once, the file kept in the build folder."""
    path = FOLDER / "latents.npy"
    if not path.exists():
        vae = AutoencoderKL.from_pretrained(autoencoder.FOLDER / "vae").to(torch.bfloat16)
        encode = vae.encoder.to(memory_format=torch.channels_last)
        compile_blocks(encode)
        icons, nouns = load_icons(), read_nouns()
        latents = np.empty((SCENES, 4, SIZE // 8, SIZE // 8), np.float16)
        start = time.perf_counter()
        for at in range(0, SCENES, 100):
            pixels = np.stack([render_scene(draw_scene(0, i, nouns), icons) for i in range(at, at + 100)])
            images = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(torch.bfloat16) / 127.5 - 1
            posterior = vae.encode(images.to(memory_format=torch.channels_last)).latent_dist
            latents[at : at + 100] = (posterior.mean.float() * vae.config.scaling_factor).numpy()
            if at % 5000 == 0:
                print(f"latents {at} of {SCENES}, {at / (time.perf_counter() - start):.0f} a second", flush=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial.npy")
        np.save(partial, latents)
        partial.rename(path)
    return torch.from_numpy(np.load(path))


@torch.no_grad()
def text_states(captions: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Text states, bfloat16 (n, 77, width), of the distinct captions, and the index of each caption's among them."""
    tokenizer = CLIPTokenizer.from_pretrained(SHIPPED / "tokenizer")
    encoder = CLIPTextModel.from_pretrained(clip.FOLDER / "text_encoder").to(torch.bfloat16)
    distinct = sorted(set(captions))
    states = torch.empty(len(distinct), 77, clip.WIDTH, dtype=torch.bfloat16)
    for at in range(0, len(distinct), 128):
        tokens = tokenizer(distinct[at : at + 128], padding="max_length", truncation=True, return_tensors="pt")
        states[at : at + 128] = encoder(tokens.input_ids).last_hidden_state
    places = {caption: index for index, caption in enumerate(distinct)}
    return states, torch.tensor([places[caption] for caption in captions])


def train() -> UNet2DConditionModel:
    torch.manual_seed(0)
    unet = new_unet().to(torch.bfloat16, memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())  # three plain products: the fused CPU kernel is slow at these sizes
    compile_blocks(unet)
    optimizer = MasterAdamW(unet.parameters(), weight_decay=1e-3, ema_decay=0.999)
    nouns = read_nouns()
    scenes = [draw_scene(0, index, nouns) for index in range(SCENES)]
    known = [all(placed.noun in nouns.learned for placed in scene.objects) for scene in scenes]
    latents = cached_latents()[torch.tensor(known)]
    captions = [scene.caption for scene, is_known in zip(scenes, known, strict=True) if is_known]
    states, caption_of = text_states([*captions, ""])
    empty = caption_of[-1]
    alphas = new_scheduler().alphas_cumprod
    signal, noise_level = alphas.sqrt(), (1 - alphas).sqrt()
    snr = alphas / (1 - alphas)

    def loss_of(rng: np.random.Generator) -> tuple[torch.Tensor, int]:
        chosen = torch.from_numpy(rng.integers(len(latents), size=BATCH))
        dropped = torch.from_numpy(rng.random(BATCH) < CAPTION_DROPOUT)
        text = states[torch.where(dropped, empty, caption_of[chosen])]
        offsets = (torch.arange(BATCH) + torch.from_numpy(rng.random(BATCH))) / BATCH  # stratified: less variance
        timesteps = (offsets * len(alphas)).long()
        clean = latents[chosen].float()
        noise = torch.randn(clean.shape)
        noisy = signal[timesteps].view(-1, 1, 1, 1) * clean + noise_level[timesteps].view(-1, 1, 1, 1) * noise
        noisy = noisy.to(torch.bfloat16, memory_format=torch.channels_last)
        predicted = unet(noisy, timesteps, text).sample.float()
        weights = (SNR_CAP / snr[timesteps]).clamp(max=1)
        return (weights * F.mse_loss(predicted, noise, reduction="none").mean((1, 2, 3))).mean(), BATCH

    fit(
        "unet",
        FOLDER,
        loss_of,
        optimizer,
        STEPS,
        LR,
        save_every=500,
        on_save=lambda step: export(unet, optimizer, step),
    )
    optimizer.use_average()
    return unet


def export(unet: UNet2DConditionModel, optimizer: MasterAdamW, step: int) -> None:
    """Write the averaged weights so far as a whole diffusers pipeline in half precision, ready to ship."""
    optimizer.use_average()
    averaged = {name: value.clone() for name, value in zip(_names(unet), optimizer.average, strict=True)}
    optimizer.use_masters()
    plain = new_unet()
    plain.load_state_dict(averaged)
    save_pipeline(plain, step)


def _names(unet: UNet2DConditionModel) -> list[str]:
    return [name.replace("_orig_mod.", "") for name, _ in unet.named_parameters()]


def save_pipeline(unet: UNet2DConditionModel, step: int) -> None:
    """The pipeline folder build/pocket/pipeline, replaced as a whole."""
    pipeline = StableDiffusionPipeline(
        vae=AutoencoderKL.from_pretrained(autoencoder.FOLDER / "vae"),
        text_encoder=CLIPTextModel.from_pretrained(clip.FOLDER / "text_encoder"),
        tokenizer=CLIPTokenizer.from_pretrained(SHIPPED / "tokenizer"),
        unet=unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    partial, target = BUILD / "pipeline.partial", BUILD / "pipeline"
    shutil.rmtree(partial, ignore_errors=True)
    pipeline.to(torch.float16).save_pretrained(partial)
    # transformers opens a model in the type that its configuration names, diffusers in float32: without this, a
    # pipeline opened without a type would mix both, and fail.
    text_config = partial / "text_encoder" / "config.json"
    text_config.write_text(text_config.read_text().replace('"float16"', '"float32"'))
    (partial / "recipe.json").write_text(json.dumps({"unet_steps": step, "batch": BATCH, "scenes": SCENES}))
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def run() -> None:
    train()
    FOLDER.joinpath("done").touch()


if __name__ == "__main__":
    run()
