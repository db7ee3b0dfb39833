"""Pictures for the tests of preparing: sharp, each its own, with as much detail as a photograph."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw


def photo(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """Things with clear edges on a ground that changes softly, with a little grain; RGB."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(60, 200, (3, 4, 3), dtype=np.uint8)
    image = Image.fromarray(ground).resize((width, height), Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(25):
        left, top = rng.integers(0, (width, height)).tolist()
        across, down = rng.integers(8, (width // 3, height // 3)).tolist()
        draw = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        draw((left, top, left + across, top + down), fill=tuple(rng.integers(20, 235, 3).tolist()))
    grain = rng.integers(-4, 5, (height, width, 3))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


def photos(folder: Path, count: int = 3, **size: int) -> Path:
    """A folder of such pictures: IMG_0.png and on."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        photo(index, **size).save(folder / f"IMG_{index}.png")
    return folder


def contents(folder: Path, but: tuple[str, ...] = (".limner",)) -> dict[str, bytes]:
    """The bytes of all files below a folder, by their paths."""
    found = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    return {str(name): path.read_bytes() for name, path in found.items() if name.parts[0] not in but}
