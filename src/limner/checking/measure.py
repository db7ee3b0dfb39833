"""One picture's facts, from its bytes: decoded once, at a size that shows what is asked."""

import hashlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.checking.facts import Facts
from limner.checking.features import features_of
from limner.checking.header import header_facts, says_screenshot
from limner.data.colour import eight_bits, to_srgb
from limner.data.decode import Unusable, load, open_image, problems, stored_size, upright
from limner.data.source import Source
from limner.vision.border import Border, border_of
from limner.vision.colours import background_name
from limner.vision.detail import blocks_of, enlargement, noise_of, sharpness
from limner.vision.faces import Faces
from limner.vision.hashes import phashes
from limner.vision.light import background_of, light_of
from limner.vision.pixels import Pixels, fitted, grey_of
from limner.vision.region import Region
from limner.vision.salience import salient
from limner.vision.screen import is_screen
from limner.vision.text import text_share

# Pixels of the shorter side at which a picture is looked at: more than most models learn from, and of 2 megapixels the
# half is 612. A JPEG is decoded to at least that, anything else is brought near it.
SIDE = 600
SMALL = 512  # pixels of the longer side at which light, colours and what stands out are judged
MIDDLE = 1024  # pixels of either side, not scaled, in which the grid of a JPEG is looked for
LOSSLESS = ("PNG", "BMP", "DIB", "TIFF")


@dataclass(frozen=True)
class Measured:
    """What is known of one file. features: int8 (1280,), None for a file that cannot be used or if not asked for.

    They say where the evaluator's network places the picture (limner.evaluate.features.Features.pooled) by their
    direction alone: their scale is 127 over the largest magnitude, so that a cosine is taken of them as they are.
    """

    facts: Facts
    features: NDArray[np.int8] | None = None


@dataclass(frozen=True)
class Measure:
    """Measures a source; it can be pickled, so that pool.in_order takes it. features: whether they are wanted."""

    features: bool = True
    faces: Faces = field(default_factory=Faces)

    def __call__(self, source: Source) -> Measured:
        """What is to be known of a picture; never raises for what the file is."""
        try:
            data = source.read()
        except Unusable as problem:
            return Measured(Facts(source.name, problem=str(problem)))
        known: dict[str, Any] = {"name": source.name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        try:
            with problems():
                image = open_image(data)
                stored = stored_size(image)
                loaded = load(image, at_least=SIDE)
                size = upright(stored, image)
                transparent = _transparent(loaded)
                seen = to_srgb(_reduced(loaded))
                # Scaled, a JPEG shows no grid, and no fault by it either.
                unscaled = _middle(loaded) if image.size == stored else None
                told = header_facts(image, data)
                said = says_screenshot(image)
        except Unusable as problem:
            return Measured(Facts(**known, problem=str(problem)))
        pixels = np.asarray(seen)
        lossless = told["kind"] in LOSSLESS
        looks = _looks(pixels) | {
            "width": size[0],
            "height": size[1],
            "transparent": transparent,
            "blocks": 0.0 if unscaled is None else blocks_of(unscaled),
            "screen": said or is_screen(pixels, size, lossless, told["camera"]),
            "faces": self.faces(pixels),
        }
        features = features_of(fitted(pixels, SMALL)) if self.features else None
        return Measured(Facts(**known, **told, **looks), features)


def measure(source: Source) -> Measured:
    """All that is to be known of a picture; never raises for what the file is."""
    return Measure()(source)


def _reduced(image: Image.Image) -> Image.Image:
    """An image of any mode brought down by a whole factor, as far as its shorter side stays SIDE."""
    factor = min(image.size) // SIDE
    return image.reduce(factor) if factor > 1 and image.mode not in ("1", "P") else image


def _middle(image: Image.Image) -> Pixels:
    """The middle of an image of any mode, in grey."""
    left, top = (max(0, (side - MIDDLE) // 2) for side in image.size)
    part = image.crop((left, top, min(image.width, left + MIDDLE), min(image.height, top + MIDDLE)))
    return np.asarray(eight_bits(part).convert("L"))


def _transparent(image: Image.Image) -> float:
    """The share of pixels that are not opaque."""
    if not image.has_transparency_data:
        return 0.0
    return float((np.asarray(image.convert("RGBA").getchannel("A")) < 255).mean())


def _looks(rgb: Pixels) -> dict[str, Any]:
    """Values of Facts that the pixels show, by their names."""
    border = border_of(rgb)
    inner = _inside(rgb, border)
    grey, small = grey_of(inner), fitted(inner, SMALL)
    background = background_of(small)
    light = light_of(small, background)
    noise = noise_of(grey)
    sharp = sharpness(grey, noise)
    hashes = _hashes("whole", rgb) + (_hashes("inside", inner) if any(border) else ())
    return {
        "sharpness": sharp,
        "enlarged": enlargement(grey, sharp),
        "brightness": light.brightness,
        "contrast": light.contrast,
        "burnt": light.burnt,
        "black": light.black,
        "range": light.range,
        "noise": noise,
        "text": text_share(grey),
        "border": border,
        "salient": _of_whole(salient(small, background), border),
        "colour": background_name(small),
        "hashes": hashes,
    }


def _hashes(name: str, rgb: Pixels) -> tuple[tuple[str, str], ...]:
    first, *turned = phashes(rgb)
    return (name, first), (f"{name} turned", "".join(turned))


def _inside(rgb: Pixels, border: Border) -> Pixels:
    high, wide = rgb.shape[:2]
    left, top, right, bottom = border
    rows, columns = (
        slice(round(top * high), high - round(bottom * high)),
        slice(round(left * wide), wide - round(right * wide)),
    )
    return np.ascontiguousarray(rgb[rows, columns])


def _of_whole(region: Region | None, border: Border) -> Region | None:
    """A region of what is inside a border, as one of the whole picture."""
    if region is None:
        return None
    left, top, right, bottom = border
    wide, high = 1 - left - right, 1 - top - bottom
    return Region(
        left + region.left * wide, top + region.top * high, left + region.right * wide, top + region.bottom * high
    )
