"""What to draw, and what came of it."""

from dataclasses import dataclass
from typing import Literal

from PIL import Image

from limner.samplers import AUTOMATIC

MIN_SIDE, MAX_SIDE = 64, 4096  # pixels
MAX_STEPS = 1000
RANDOM_SEED = -1


Resize = Literal["stretch", "crop", "fill", "latent"]
Fill = Literal["fill", "original", "noise", "nothing"]


@dataclass(frozen=True)
class Init:
    """Pictures to start from, the first for the first of a batch and so on, over and over.

    strength: 0..1, how much of the steps is done, from how much noise. resize: to the size that is drawn; "fill" puts
    the picture into the middle and drags its edges out, "latent" stretches what is encoded. mask: white where the
    pictures are drawn anew, of any mode; everywhere if there is none. mask_blur: pixels. fill: what is put there first:
    the colours around it, what is there, noise, or nothing. only_masked: draw the part that the mask touches, and
    `padding` pixels around it, in the full size, and put it back.
    """

    images: tuple[Image.Image, ...]
    strength: float = 0.75
    resize: Resize = "crop"
    mask: Image.Image | None = None
    mask_invert: bool = False
    mask_blur: float = 4
    fill: Fill = "original"
    only_masked: bool = False
    padding: int = 32


@dataclass(frozen=True)
class Hires:
    """A second pass that starts from what the first drew, made larger: the webui's "hires fix".

    scale: of both sides. width, height: pixels, instead of the scale; with one of them the shape stays, with both what
    stands over is cut off. upscaler: by the webui's name; of latents or of pixels. steps: that it does, 0 for as many
    as the first. strength: 0..1, from how much noise it draws anew.
    """

    scale: float = 2.0
    width: int | None = None
    height: int | None = None
    upscaler: str = "Latent"
    steps: int = 0
    strength: float = 0.7


@dataclass(frozen=True)
class Request:
    """What to draw. Image i of `count` has seed + i, and -1 is any seed. Sizes in pixels, None for the base's own.

    subseed: of a second noise, into whose direction that of the seed is turned by subseed_strength of the way, 0..1; if
    that is not 0, the seed stays and image i has subseed + i.
    """

    prompt: str
    negative_prompt: str = ""
    steps: int = 20
    sampler: str = "DPM++ 2M"
    schedule: str = AUTOMATIC
    cfg_scale: float = 7.0
    width: int | None = None
    height: int | None = None
    seed: int = RANDOM_SEED
    count: int = 1
    batch_size: int = 1
    clip_skip: int = 1
    subseed: int = RANDOM_SEED
    subseed_strength: float = 0.0
    init: Init | None = None
    hires: Hires | None = None


@dataclass(frozen=True)
class Generated:
    """One picture, the seed that made it, its `parameters` text, and remarks on what of its prompts is not applied."""

    image: Image.Image
    seed: int
    infotext: str
    remarks: tuple[str, ...] = ()
