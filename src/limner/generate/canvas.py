"""What a picture to start from becomes before it is encoded, and how what was drawn is laid over it."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageFilter

from limner.generate.request import Init, Resize

Size = tuple[int, int]
Box = tuple[int, int, int, int]
LANCZOS = Image.Resampling.LANCZOS
WHITE = (255, 255, 255, 255)  # behind what is transparent


@dataclass(frozen=True)
class Canvas:
    """pictures: RGB, of the size to draw unless they are stretched as latents. mask: "L" of that size, white where they
    are drawn anew; None for everywhere. originals: what stays behind, RGB; box: the part of them that is drawn anew;
    laid: "L" of their size, how far what is drawn covers them."""

    pictures: list[Image.Image]
    mask: Image.Image | None = None
    originals: list[Image.Image] | None = None
    box: Box | None = None
    laid: Image.Image | None = None

    def finished(self, image: Image.Image, number: int) -> Image.Image:
        """A drawn picture, the given one of its batch, over its original."""
        if self.originals is None or self.laid is None or self.box is None:
            return image
        original = self.originals[number % len(self.originals)]
        left, top, right, bottom = self.box
        drawn = original.copy()
        part = (right - left, bottom - top)
        drawn.paste(image if image.size == part else image.resize(part, LANCZOS), (left, top))
        return Image.composite(drawn, original, self.laid)


def make_canvas(init: Init, size: Size) -> Canvas:
    """Everything that is done to the pixels."""
    pictures = [opaque(image) for image in init.images]
    stretch: Resize = "stretch" if init.resize == "latent" else init.resize
    if init.mask is None:
        return Canvas(pictures if init.resize == "latent" else [resized(each, size, stretch) for each in pictures])
    mask = _mask(init)
    if init.only_masked:
        mask = mask.resize(pictures[0].size) if mask.size != pictures[0].size else mask
        originals, laid, box = pictures, mask, _box(mask, init.padding, size)
        originals = [each if each.size == mask.size else each.resize(mask.size, LANCZOS) for each in originals]
        pictures = [each.crop(box).resize(size, LANCZOS) for each in originals]
        mask = mask.crop(box).resize(size, LANCZOS)
    else:
        mask = resized(mask, size, stretch)
        originals = pictures = [resized(each, size, stretch) for each in pictures]
        laid, box = mask.point(lambda level: min(2 * level, 255)), (0, 0, *size)
    if init.fill == "fill":
        pictures = [filled(each, mask) for each in pictures]
    return Canvas(pictures, mask, originals, box, laid)


def opaque(image: Image.Image) -> Image.Image:
    """An RGB picture, what is transparent on white."""
    if not image.has_transparency_data:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, WHITE), image).convert("RGB")


def resized(image: Image.Image, size: Size, how: Resize) -> Image.Image:
    """A picture or mask of the size: stretched, or cut at its sides, or its edges dragged out to them."""
    if image.size == size:
        return image
    if how == "stretch":
        return image.resize(size, LANCZOS)
    ratios = [there / here for there, here in zip(size, image.size, strict=True)]
    ratio = max(ratios) if how == "crop" else min(ratios)
    whole = tuple(max(1, round(side * ratio)) for side in image.size)
    image = image.resize((whole[0], whole[1]), LANCZOS)
    left, top = ((here - there) // 2 for here, there in zip(whole, size, strict=True))
    if how == "crop":
        return image.crop((left, top, left + size[0], top + size[1]))
    across = (-left, size[0] - whole[0] + left)
    down = (-top, size[1] - whole[1] + top)
    pixels = np.asarray(image)
    return Image.fromarray(np.pad(pixels, (down, across, (0, 0))[: pixels.ndim], mode="edge"))


def _mask(init: Init) -> Image.Image:
    """Black and white, turned round and blurred as asked; of a transparent picture what is opaque."""
    assert init.mask is not None
    mask = init.mask.getchannel("A") if "A" in init.mask.getbands() else init.mask.convert("L")
    if "A" in init.mask.getbands() and mask.getextrema() == (255, 255):
        mask = init.mask.convert("L")  # nothing is transparent: its colours say it
    mask = mask.point(lambda level: 255 * (level > 127))
    if init.mask_invert:
        mask = ImageChops.invert(mask)
    if not init.mask_blur:
        return mask
    side = 2 * int(2.5 * init.mask_blur + 0.5) + 1
    return Image.fromarray(cv2.GaussianBlur(np.asarray(mask), (side, side), init.mask_blur))


def _box(mask: Image.Image, padding: int, size: Size) -> Box:
    """What the mask touches, padded, then made as wide to high as the size as far as the picture allows."""
    left, top, right, bottom = mask.getbbox() or (0, 0, *mask.size)
    left, top = max(left - padding, 0), max(top - padding, 0)
    right, bottom = min(right + padding, mask.width), min(bottom + padding, mask.height)
    ratio = size[0] / size[1]
    if (right - left) / (bottom - top) < ratio:
        left, right = _widened(left, right, round((bottom - top) * ratio), mask.width)
    else:
        top, bottom = _widened(top, bottom, round((right - left) / ratio), mask.height)
    return left, top, right, bottom


def _widened(low: int, high: int, length: int, limit: int) -> tuple[int, int]:
    """A stretch of that length around the middle of low..high, moved and cut to lie in 0..limit."""
    length = min(max(length, high - low), limit)
    low = min(max((low + high - length) // 2, 0), limit - length)
    return low, low + length


def filled(image: Image.Image, mask: Image.Image) -> Image.Image:
    """The picture with the colours around where the mask is white, ever softer towards the middle (Gortler et al. 1996,
    "The Lumigraph": pull and push)."""
    known = 1 - np.asarray(mask.filter(ImageFilter.MaxFilter(3)), np.float32)[..., None] / 255
    pixels = np.asarray(image, np.float32)
    found = _pulled(pixels * known, known)
    blend = pixels * known + found * (1 - known)
    return Image.fromarray(np.clip(np.rint(blend), 0, 255).astype(np.uint8))


def _pulled(sums: NDArray[Any], weights: NDArray[Any]) -> NDArray[Any]:
    """Colours everywhere, of colours times weights (h, w, 3) and weights (h, w, 1): where there is none, those of a
    picture of half the size."""
    height, width = weights.shape[:2]
    here = sums / np.maximum(weights, 1e-6)
    if min(height, width) == 1 or bool((weights >= 1).all()):
        mean = sums.sum((0, 1)) / max(float(weights.sum()), 1e-6)
        return np.where(weights > 0, here, mean).astype(np.float32)
    half = ((width + 1) // 2, (height + 1) // 2)
    less, fewer = (cv2.resize(each, half, interpolation=cv2.INTER_AREA) for each in (sums, weights))
    below = cv2.resize(_pulled(less, fewer[..., None]), (width, height), interpolation=cv2.INTER_LINEAR)
    share = np.minimum(weights, 1)
    return (here * share + below * (1 - share)).astype(np.float32)
