"""Pictures for the tests of preparing: sharp, each its own, with as much detail as a photograph."""

from pathlib import Path

import numpy as np
from PIL import Image


def photo(seed: int, width: int = 320, height: int = 240) -> Image.Image:
    """Soft shapes with fine grain on them, RGB."""
    rng = np.random.default_rng(seed)
    soft = Image.fromarray(rng.integers(30, 225, (6, 8, 3), dtype=np.uint8)).resize(
        (width, height), Image.Resampling.BICUBIC
    )
    fine = rng.integers(-24, 25, (height, width, 3))
    return Image.fromarray((np.asarray(soft) + fine).clip(0, 255).astype(np.uint8))


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
