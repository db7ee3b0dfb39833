"""What makes pictures larger, by the webui's names: their latents, or their pixels. Loads no torch."""

from PIL import Image

from limner.config import nearest
from limner.errors import UserError

# Of latents: how they are interpolated, and whether high frequencies are taken out first.
LATENT = {
    "Latent": ("bilinear", False),
    "Latent (antialiased)": ("bilinear", True),
    "Latent (bicubic)": ("bicubic", False),
    "Latent (bicubic antialiased)": ("bicubic", True),
    "Latent (nearest)": ("nearest", False),
    "Latent (nearest-exact)": ("nearest-exact", False),
}
NONE = "None"
# Of pixels. None only fits a picture to its size, which the webui does in Lanczos' way too.
PIXELS = {NONE: Image.Resampling.LANCZOS, "Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}


def find_upscaler(name: str, of_pixels: bool = False) -> str:
    """Its proper name, whatever the case. of_pixels: one of finished pictures. Raises UserError if there is none."""
    there = {known.lower(): known for known in (PIXELS if of_pixels else {**LATENT, **PIXELS})}
    wanted = name.lower().strip()
    if wanted not in there:
        near = nearest(wanted, there)
        meant = f"did you mean {there[near]!r}?" if near else f"use one of {', '.join(there.values())}"
        raise UserError(f"no upscaler {name[:100]!r}; {meant}")
    return there[wanted]


def enlarged(image: Image.Image, size: tuple[int, int], upscaler: str) -> Image.Image:
    """A picture of that size; upscaler: one of pixels, by its proper name."""
    return image if image.size == size else image.resize(size, PIXELS[upscaler])
