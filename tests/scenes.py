"""Made-up photographs: shapes on a textured ground, another scene for each seed; one thing in it can be moved."""

import numpy as np
from PIL import Image, ImageDraw


def scene(seed: int, width: int = 400, height: int = 300, moved: float = 0.0) -> Image.Image:
    """moved: by how much of the width its main subject stands further to the right, in another pose."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(40, 216, (7, 9, 3), np.uint8))
    coarse = coarse.resize((width, height), Image.Resampling.BICUBIC)
    fine = Image.fromarray(rng.integers(0, 256, (height // 4, width // 4), np.uint8)).resize((width, height))
    image = Image.blend(coarse, fine.convert("RGB"), 0.15)
    pen = ImageDraw.Draw(image)
    for _ in range(30):
        left, top = rng.uniform(0, 0.95, 2) * (width, height)
        wide, high = rng.uniform(0.02, 0.2, 2) * (width, height)
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((left, top, left + wide, top + high), fill=colour)
    middle, size = (0.3 + moved) * width, 0.16 * height
    for place, colour in ((0.3, "#c03020"), (0.55, "#203090"), (0.8, "#d0b020")):
        top = (place - (0.1 if moved else 0)) * height
        pen.ellipse((middle - size, top - size, middle + size, top + size), fill=colour, outline="black", width=3)
    pen.line((middle, 0.5 * height, middle + 0.25 * width, (0.2 if moved else 0.8) * height), fill="black", width=9)
    return image
