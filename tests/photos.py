"""Pictures with the statistics of photographs, made without any: edges of things, texture at every scale."""

import numpy as np
from PIL import Image, ImageDraw


def photo(width: int = 640, height: int = 480, seed: int = 0) -> Image.Image:
    """Sharp, well lit, without writing, and of pixels that were never scaled by anything but their making."""
    rng = np.random.default_rng(seed)
    canvas = Image.new("RGB", (2 * width, 2 * height), (118, 130, 140))
    draw = ImageDraw.Draw(canvas)
    for _ in range(24):
        x, y = rng.uniform(0, 2 * width), rng.uniform(0, 2 * height)
        reach = rng.uniform(0.1, 0.5) * min(width, height)
        corners = [
            (x + reach * rng.uniform(0.3, 1) * np.cos(angle), y + reach * rng.uniform(0.3, 1) * np.sin(angle))
            for angle in np.sort(rng.uniform(0, 2 * np.pi, 7))
        ]
        draw.polygon(corners, fill=tuple(int(level) for level in rng.integers(25, 225, 3)))
    levels = np.asarray(canvas.resize((width, height), Image.Resampling.BOX), np.float32)
    rows, columns = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    waves = rng.normal(size=frequency.shape) + 1j * rng.normal(size=frequency.shape)
    texture = np.fft.irfft2(waves / frequency, s=(height, width))
    levels += (14 * texture / texture.std())[..., None]
    return Image.fromarray(np.clip(levels, 4, 245).astype(np.uint8))
