"""The factor-8 autoencoder: trained on icons on plain colours, then scaled to Stable Diffusion 1's factor."""

from functools import partial

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from recipes.pocket import BUILD, SIZE
from recipes.pocket.icons import load_held_out, load_icons
from recipes.pocket.training import MasterAdamW, compile_blocks, fit

FOLDER = BUILD / "autoencoder"
SCALING_FACTOR = 0.18215  # Stable Diffusion 1's; readers of single files take it for granted
# Cheap crops first; then whole pictures, without which colours shift: the norms see other statistics there.
PHASES = {"autoencoder": (3000, 16, 64, 6e-4), "autoencoder-whole": (600, 6, SIZE, 4e-4)}
LUMA = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)


def new_autoencoder() -> AutoencoderKL:
    """Stable Diffusion 1's AutoencoderKL, a quarter as wide and with one layer a block."""
    vae = AutoencoderKL(
        block_out_channels=(32, 64, 128, 128),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        latent_channels=4,
        sample_size=SIZE,
        scaling_factor=SCALING_FACTOR,
    )
    with torch.no_grad():  # the usual start has a deviation of 1, and the decoder learns to ignore such latents
        vae.quant_conv.weight[4:] *= 0.1
        vae.quant_conv.bias[4:] -= 6
    return vae


def random_crops(pixels: np.ndarray, rng: np.random.Generator, count: int, crop: int) -> torch.Tensor:
    """Crops of icons, half of them shrunk, on random plain colours: (count, 3, crop, crop) in -1..1."""
    chosen = pixels[rng.integers(len(pixels), size=count)]
    crops = np.empty((count, crop, crop, 3), np.float32)
    for index, rgba in enumerate(chosen):
        if rng.random() < 0.5:
            size = int(rng.integers(48, 112))
            rgba = np.asarray(Image.fromarray(rgba).resize((size, size), Image.Resampling.BOX))
        pad = max(0, crop - rgba.shape[0])
        rgba = np.pad(rgba, ((0, pad), (0, pad), (0, 0)))
        y, x = rng.integers(rgba.shape[0] - crop + 1, size=2)
        piece = rgba[y : y + crop, x : x + crop].astype(np.float32) / 255
        if rng.random() < 0.5:
            piece = piece[:, ::-1]
        colour = rng.random(3, dtype=np.float32) if rng.random() < 0.6 else np.float32(1)
        crops[index] = piece[..., :3] * piece[..., 3:] + colour * (1 - piece[..., 3:])
    return torch.from_numpy(crops).permute(0, 3, 1, 2).mul(2).sub(1)


def reconstruction_loss(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Absolute and squared error, chroma counted apart (it is lost first), and edges."""
    error = (y - x).float()
    luma = (error * LUMA).sum(1, keepdim=True)
    chroma = error - luma
    edges = luma.diff(dim=2).abs().mean() + luma.diff(dim=3).abs().mean()
    return error.abs().mean() + 2 * error.square().mean() + chroma.abs().mean() + 0.5 * edges


def train() -> AutoencoderKL:
    torch.manual_seed(0)
    vae = new_autoencoder().to(torch.bfloat16, memory_format=torch.channels_last)
    optimizer = MasterAdamW(vae.parameters(), weight_decay=1e-4, ema_decay=0.998)
    pixels = np.stack(list(load_icons().values()))
    compile_blocks(vae.encoder, vae.decoder)

    def loss_of(rng: np.random.Generator, batch: int, crop: int) -> tuple[torch.Tensor, int]:
        x = random_crops(pixels, rng, batch, crop).to(torch.bfloat16, memory_format=torch.channels_last)
        posterior = vae.encode(x).latent_dist
        latents = posterior.mean + posterior.std * torch.randn_like(posterior.mean)
        return reconstruction_loss(x, vae.decode(latents).sample) + 1e-6 * posterior.kl().float().mean(), batch

    for name, (steps, batch, crop, lr) in PHASES.items():
        draw = partial(loss_of, batch=batch, crop=crop)
        fit(name, FOLDER, draw, optimizer, steps, lr, decay_share=0.3 if crop < SIZE else 0.8)
        optimizer.start_from_average()
    optimizer.use_average()
    return vae.float().eval()


@torch.no_grad()
def whiten(vae: AutoencoderKL, images: torch.Tensor) -> None:
    """Make latents zero-mean with deviation 1 / SCALING_FACTOR in each channel, by the 1x1 convolutions around them."""
    latents = torch.cat([vae.encode(batch).latent_dist.mean for batch in images.split(16)])
    mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
    scale = 1 / (SCALING_FACTOR * std)
    quant, post = vae.quant_conv, vae.post_quant_conv
    post.bias += post.weight[:, :, 0, 0] @ mean
    post.weight /= scale.view(1, -1, 1, 1)
    quant.bias[:4] -= mean
    quant.weight[:4] *= scale.view(-1, 1, 1, 1)
    quant.bias[:4] *= scale
    quant.bias[4:] += 2 * scale.log()


def psnr_by_channel(x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
    """Mean over images of the peak signal-to-noise ratio in dB, of all channels and of each; x and y in -1..1."""
    error = ((y.clamp(-1, 1) - x) / 2).square()
    every = -10 * error.mean((1, 2, 3)).log10().mean()
    each = -10 * error.mean((2, 3)).log10().mean(0)
    return {"all": float(every), **{name: float(v) for name, v in zip("rgb", each, strict=True)}}


def held_out_images() -> torch.Tensor:
    """Icons that no training saw, whole, on white and on plain colours: (n, 3, 128, 128) in -1..1."""
    rng = np.random.default_rng(1)
    images = []
    for index, rgba in enumerate(load_held_out().values()):
        colour = rng.random(3) if index % 2 else np.ones(3)
        alpha = rgba[..., 3:] / 255
        images.append(rgba[..., :3] / 255 * alpha + colour * (1 - alpha))
    return torch.tensor(np.stack(images), dtype=torch.float32).permute(0, 3, 1, 2) * 2 - 1


@torch.no_grad()
def reconstruct(vae: AutoencoderKL, images: torch.Tensor) -> torch.Tensor:
    return torch.cat([vae.decode(vae.encode(batch).latent_dist.mean).sample for batch in images.split(16)])


def run() -> None:
    """Train, scale, and save as a diffusers folder under the build folder."""
    vae = train()
    pixels = np.stack(list(load_icons().values()))
    whiten(vae, random_crops(pixels, np.random.default_rng(0), 256, SIZE))
    vae.save_pretrained(FOLDER / "vae")
    images = held_out_images()
    print("held-out PSNR", psnr_by_channel(images, reconstruct(vae, images)))
    FOLDER.joinpath("done").touch()


if __name__ == "__main__":
    run()
