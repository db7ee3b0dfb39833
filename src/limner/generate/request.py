"""What to draw, and what came of it."""

from dataclasses import dataclass

from PIL import Image

from limner.samplers import AUTOMATIC

MIN_SIDE, MAX_SIDE = 64, 4096  # pixels
MAX_STEPS = 1000
RANDOM_SEED = -1


@dataclass(frozen=True)
class Request:
    """What to draw. Image i of `count` has seed + i, and -1 is any seed. Sizes in pixels, None for the base's own."""

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


@dataclass(frozen=True)
class Generated:
    """One picture, the seed that made it, and its `parameters` text."""

    image: Image.Image
    seed: int
    infotext: str
