"""The factor-8 autoencoder: trained on icons on plain colours, then scaled to Stable Diffusion 1's factor."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from limner.vision.colours import COLOURS, name_of
from recipes.pocket import BUILD, SIZE
from recipes.pocket.icons import Nouns, load_held_out, load_icons, read_nouns
from recipes.pocket.scenes import Placed, Scene, compose_two, place, render_scene
from recipes.pocket.styles import HELD_OUT_STYLES, STYLES, draw_icons, load_styled
from recipes.pocket.training import MasterAdamW, compile_blocks, fit, is_done

FOLDER = BUILD / "autoencoder"
SCALING_FACTOR = 0.18215  # Stable Diffusion 1's; readers of single files take it for granted


@dataclass(frozen=True)
class Phase:
    """steps of `batch` pictures of `crop` pixels, of plain icons or of scenes in every style."""

    steps: int
    batch: int
    crop: int
    lr: float
    scenes: bool = False
    decay_share: float = 0.3


# Cheap crops first; then whole pictures, without which colours shift: the norms see other statistics there. Then what
# the styles need: version 3's gave held-out objects back at 26.1 dB (flat), 26.4 (glossy), 28.9 (watercolor), but 18.5
# (line art), 21.6 (comic), 22.8 (sticker), 23.6 (silhouette); 22.7 and 15.9 in the held-out neon and stained glass.
PHASES = {
    "autoencoder": Phase(3000, 16, 64, 6e-4),
    "autoencoder-whole": Phase(600, 6, SIZE, 4e-4, decay_share=0.8),
    "autoencoder-styles": Phase(1600, 8, SIZE, 4e-4, scenes=True, decay_share=0.5),
}
DECODER = Phase(4000, 8, SIZE, 3e-4, scenes=True, decay_share=0.5)
PLAIN_SHARE = 0.2  # of the pictures of scenes: icons of all sets and names, so that it knows more than the nouns
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


def full_scene(rng: np.random.Generator, nouns: Nouns) -> Scene:
    """A scene for the autoencoder: mostly one object that fills it, on any colour at all."""
    style = str(rng.choice(list(STYLES)))
    objects = compose_two(rng, nouns)[1]
    if rng.random() < 0.8:
        side = int(rng.integers(56, SIZE + 1)) if rng.random() < 0.3 else int(rng.integers(100, SIZE + 1))
        corner = place(rng, side, (0.5, 0.5))
        objects = (Placed(objects[0].noun, side, corner, bool(rng.random() < 0.5)),)
    colour = str(rng.choice(list(COLOURS)))
    exact = COLOURS[colour] if rng.random() < 0.5 else rng.integers(0, 256, 3)
    red, green, blue = (int(level) for level in exact)
    return Scene(style, name_of((red, green, blue)), (red, green, blue), objects, "")


def pictures(phase: Phase) -> Callable[[np.random.Generator], torch.Tensor]:
    """What draws a phase's batches: (batch, 3, crop, crop) in -1..1."""
    pixels = np.stack(list(load_icons().values()))
    if not phase.scenes:
        return lambda rng: random_crops(pixels, rng, phase.batch, phase.crop)
    styled, nouns = load_styled(), read_nouns()

    def draw(rng: np.random.Generator) -> torch.Tensor:
        plain = rng.binomial(phase.batch, PLAIN_SHARE)
        scenes = [render_scene(full_scene(rng, nouns), styled) for _ in range(phase.batch - plain)]
        drawn = torch.from_numpy(np.stack(scenes)).permute(0, 3, 1, 2) / 127.5 - 1
        return torch.cat([drawn, random_crops(pixels, rng, plain, SIZE)])

    return draw


def train() -> AutoencoderKL:
    """All phases, each as far as it is not done; each goes on from the average that the one before ended in."""
    torch.manual_seed(0)
    vae = new_autoencoder().to(torch.bfloat16, memory_format=torch.channels_last)
    compile_blocks(vae.encoder, vae.decoder)
    before = None
    for name, phase in PHASES.items():
        state = FOLDER / f"{name}.state.pt"
        last = name == [*PHASES][-1]
        if last or not is_done(state, phase.steps):
            optimizer = MasterAdamW(vae.parameters(), weight_decay=1e-4, ema_decay=0.998)
            if before is not None:
                optimizer.start_from(before)
            learn(name, vae, optimizer, phase)
        before = state
    return averaged(optimizer)


def averaged(optimizer: MasterAdamW) -> AutoencoderKL:
    """The averaged weights, in an autoencoder that is not compiled: it is judged on batches of many shapes."""
    vae = new_autoencoder()
    with torch.no_grad():
        torch._foreach_copy_(list(vae.parameters()), optimizer.average)
    return vae.eval()


def learn(name: str, vae: AutoencoderKL, optimizer: MasterAdamW, phase: Phase) -> None:
    draw = pictures(phase)

    def loss_of(rng: np.random.Generator) -> tuple[torch.Tensor, int]:
        x = draw(rng).to(torch.bfloat16, memory_format=torch.channels_last)
        posterior = vae.encode(x).latent_dist
        latents = posterior.mean + posterior.std * torch.randn_like(posterior.mean)
        return reconstruction_loss(x, vae.decode(latents).sample) + 1e-6 * posterior.kl().float().mean(), len(x)

    fit(name, FOLDER, loss_of, optimizer, phase.steps, phase.lr, decay_share=phase.decay_share)


def sharpen() -> None:
    """Train the decoder alone: latents stay what they are, so it may happen while the UNet trains, or after it."""
    vae = AutoencoderKL.from_pretrained(FOLDER / "vae").to(torch.bfloat16, memory_format=torch.channels_last)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    compile_blocks(vae.encoder, vae.decoder)
    trained = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]
    optimizer = MasterAdamW(trained, weight_decay=1e-4, ema_decay=0.998)
    draw = pictures(DECODER)

    def loss_of(rng: np.random.Generator) -> tuple[torch.Tensor, int]:
        x = draw(rng).to(torch.bfloat16, memory_format=torch.channels_last)
        with torch.no_grad():
            latents = vae.encode(x).latent_dist.mean
        return reconstruction_loss(x, vae.decode(latents).sample), len(x)

    fit("decoder", FOLDER, loss_of, optimizer, DECODER.steps, DECODER.lr, decay_share=DECODER.decay_share)
    sharp = AutoencoderKL.from_pretrained(FOLDER / "vae")
    with torch.no_grad():
        torch._foreach_copy_([*sharp.post_quant_conv.parameters(), *sharp.decoder.parameters()], optimizer.average)
    sharp.save_pretrained(FOLDER / "vae-sharpened")
    print("held-out PSNR", measure(sharp))
    (FOLDER / "sharpened").touch()


def finished() -> Path:
    """The folder of the autoencoder as it is so far: with the decoder trained alone, if it has been."""
    return FOLDER / ("vae-sharpened" if (FOLDER / "sharpened").exists() else "vae")


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


def measure(vae: AutoencoderKL) -> dict[str, float]:
    """PSNR in dB on held-out icons, and on held-out objects in each style, the held-out styles too."""
    images = held_out_images()
    found = psnr_by_channel(images, reconstruct(vae, images))
    for style, images in held_out_scenes().items():
        found[style] = psnr_by_channel(images, reconstruct(vae, images))["all"]
    return {name: round(value, 2) for name, value in found.items()}


def held_out_scenes() -> dict[str, torch.Tensor]:
    """Objects that no training saw in each style and on each colour: {style: (n, 3, 128, 128) in -1..1}."""
    icons = draw_icons((*STYLES, *HELD_OUT_STYLES), read_nouns().held_out)
    colours, side = itertools.cycle(COLOURS.items()), 108
    drawn: dict[str, list[np.ndarray]] = {}
    for key in icons:
        style, noun = key.split("/")
        colour, exact = next(colours)
        scene = Scene(style, colour, exact, (Placed(noun, side, ((SIZE - side) // 2,) * 2),), "")
        drawn.setdefault(style, []).append(render_scene(scene, icons))
    return {style: torch.from_numpy(np.stack(of)).permute(0, 3, 1, 2) / 127.5 - 1 for style, of in drawn.items()}


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
    print("held-out PSNR", measure(vae))
    FOLDER.joinpath("done").touch()


if __name__ == "__main__":
    run()
