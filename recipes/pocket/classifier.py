"""A small classifier of style and object, trained on real renders only, so that it can judge what the base draws."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageFilter
from torch import Tensor, nn
from torch.nn import functional

from limner.evaluate.fidelity import background_colour
from recipes.pocket import BUILD
from recipes.pocket.icons import Nouns, read_nouns
from recipes.pocket.scenes import Scene, draw_scene, render_scene
from recipes.pocket.styles import STYLES, load_styled
from recipes.pocket.training import MasterAdamW, fit

FOLDER = BUILD / "classifier"
WEIGHTS = FOLDER / "classifier.pt"
WIDTHS = (24, 32, 64, 128, 256)
STEPS, BATCH, LR = 2500, 48, 2e-3
SEED = 2  # of the scenes; the UNet learns from those of seed 0, the text encoder from those of seed 1


class Classifier(nn.Module):
    """Convolutions over a picture, then the style's and the object's logits."""

    def __init__(self, styles: int, objects: int) -> None:
        super().__init__()
        blocks: list[nn.Module] = [nn.Conv2d(3, WIDTHS[0], 5, 2, 2), nn.GroupNorm(8, WIDTHS[0]), nn.SiLU()]
        for inputs, width in pairwise(WIDTHS):
            blocks += [nn.Conv2d(inputs, width, 3, 2, 1), nn.GroupNorm(8, width), nn.SiLU(), Residual(width)]
        self.body = nn.Sequential(*blocks)
        self.style = nn.Linear(WIDTHS[-1], styles)
        self.object = nn.Linear(WIDTHS[-1], objects)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """(batch, styles) and (batch, objects) of pixels (batch, 3, 128, 128) in -1..1."""
        pooled = self.body(pixels).mean((2, 3))
        return self.style(pooled), self.object(pooled)


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1), nn.GroupNorm(8, width), nn.SiLU())

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)


def single(rng: np.random.Generator, nouns: Nouns) -> Scene:
    """A scene of one object, one of those that the base is said to know."""
    while True:
        scene = draw_scene(SEED, int(rng.integers(1 << 40)), nouns.only_learned)
        if len(scene.objects) == 1:
            return scene


def distort(rng: np.random.Generator, pixels: np.ndarray) -> np.ndarray:
    """A picture turned, blurred and with noise, each a little and sometimes: what is drawn counts, not its grain."""
    image = Image.fromarray(pixels)
    corner = image.getpixel((0, 0))
    if rng.random() < 0.5:
        turn = float(rng.normal() * 5)
        image = image.rotate(turn, Image.Resampling.BILINEAR, fillcolor=corner)
    if rng.random() < 0.5:
        image = image.filter(ImageFilter.GaussianBlur(float(rng.random() * 1.6)))
    noisy = np.asarray(image, np.float32)
    if rng.random() < 0.5:
        grain, tint = (rng.standard_normal(shape, dtype=np.float32) for shape in (noisy.shape, 3))
        noisy = noisy + grain * np.float32(8 * rng.random()) + tint * 6
    return np.clip(noisy, 0, 255)


def to_input(pictures: Sequence[np.ndarray]) -> Tensor:
    """Pictures (128, 128, 3) in 0..255 -> the network's input."""
    return torch.from_numpy(np.stack(pictures).astype(np.float32)).permute(0, 3, 1, 2) / 127.5 - 1


def train(steps: int = STEPS, folder: Path = FOLDER) -> Classifier:
    torch.manual_seed(0)
    icons, nouns = load_styled(), read_nouns()
    network = Classifier(len(STYLES), len(nouns.learned)).to(torch.bfloat16)  # GroupNorm is slow in channels_last
    optimizer = MasterAdamW(network.parameters(), weight_decay=0.02, ema_decay=0.998)
    styles, objects = list(STYLES), {noun: index for index, noun in enumerate(nouns.learned)}

    def loss_of(rng: np.random.Generator) -> tuple[Tensor, int]:
        scenes = [single(rng, nouns) for _ in range(BATCH)]
        pixels = to_input([distort(rng, render_scene(scene, icons)) for scene in scenes])
        style, name = network(pixels.to(torch.bfloat16))
        style_target = torch.tensor([styles.index(scene.style) for scene in scenes])
        name_target = torch.tensor([objects[scene.objects[0].noun] for scene in scenes])
        style_loss = functional.cross_entropy(style.float(), style_target, label_smoothing=0.05)
        return style_loss + functional.cross_entropy(name.float(), name_target, label_smoothing=0.05), BATCH

    fit("classifier", folder, loss_of, optimizer, steps, LR)
    optimizer.use_average()
    return network.float().eval()


def load() -> Classifier:
    """The trained classifier."""
    network = Classifier(len(STYLES), len(read_nouns().learned))
    network.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    return network.eval()


@torch.no_grad()
def classify(network: Classifier, pictures: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """The style's index (n,), and the objects' indices (n, objects), the likeliest first."""
    logits = [network(batch) for batch in to_input(pictures).split(32)]
    return torch.cat([style for style, _ in logits]).argmax(1), torch.cat([name for _, name in logits]).argsort(
        1, descending=True
    )


def background(pixels: np.ndarray) -> str:
    """The named colour of a picture's background."""
    return background_colour(Image.fromarray(pixels))


def run() -> None:
    network = train()
    torch.save(network.state_dict(), WEIGHTS)
    FOLDER.joinpath("done").touch()


if __name__ == "__main__":
    run()
