"""Crops that fill the buckets, and their pixels as tensors."""

import random
from dataclasses import dataclass, replace

import numpy as np
import torch
from PIL import Image, ImageEnhance
from torch import Tensor

from limner.base.conditioning import Sizes
from limner.data.buckets import assign, buckets
from limner.data.folder import Picture

SMALLEST_VIEW = 0.75  # of the centre crop's sides that a random crop shows at least
LIGHTS = 3  # other lights in which every crop is shown


@dataclass(frozen=True)
class Light:
    """Factors of a picture's brightness, contrast and saturation, as Pillow's ImageEnhance takes them. No hue: a
    caption that names a colour stays true."""

    brightness: float
    contrast: float
    saturation: float

    def on(self, image: Image.Image) -> Image.Image:
        image = ImageEnhance.Brightness(image).enhance(self.brightness)
        image = ImageEnhance.Contrast(image).enhance(self.contrast)
        return ImageEnhance.Color(image).enhance(self.saturation)


@dataclass(frozen=True)
class Crop:
    """A view of a picture: `box` (left, top, right, bottom) in source pixels, resampled to width x height, mirrored
    and in another light if so said."""

    box: tuple[float, float, float, float]
    width: int
    height: int
    mirrored: bool = False
    light: Light | None = None

    @property
    def enlargement(self) -> float:
        """Target pixels per source pixel; above 1 the crop is blurred by upscaling."""
        return self.width / (self.box[2] - self.box[0])


def crops_for(
    picture: Picture, resolution: int, random_crops: int, seed: int, mirror: bool = False, jitter: float = 0.0
) -> list[Crop]:
    """The centre crop, and up to `random_crops` further ones that the seed and the picture's bytes decide; with
    `mirror` all of them mirrored too, and with `jitter` all of these in LIGHTS other lights, whose factors lie within
    1 - jitter and 1 + jitter.

    A random crop shows 75 to 100% of the centre crop's width, anywhere in the picture; it never enlarges more than
    the centre crop does, so that a small picture yields fewer: equal crops are given once. Crop i is the same
    however many are asked for.
    """
    width, height = assign(picture.width, picture.height, buckets(resolution))
    scale = min(picture.width / width, picture.height / height)  # source pixels per target pixel
    crops = [_place(picture, width, height, scale, 0.5, 0.5)]
    for index in range(random_crops):
        rng = random.Random(f"{seed} {picture.sha256} {index}")
        smallest = min(1.0, max(SMALLEST_VIEW, 1 / scale))
        view, across, down = rng.uniform(smallest, 1), rng.random(), rng.random()
        crops.append(_place(picture, width, height, scale * view, across, down))
    crops = list(dict.fromkeys(crops))
    crops += [replace(crop, mirrored=True) for crop in crops if mirror]
    rng = random.Random(f"light {seed} {picture.sha256}")
    lit = [replace(crop, light=_light(rng, jitter)) for crop in crops for _ in range(LIGHTS if jitter else 0)]
    return crops + lit


def centre_crop(picture: Picture, width: int, height: int) -> Crop:
    """The largest view of a picture in the shape of width x height, from its middle."""
    return _place(picture, width, height, min(picture.width / width, picture.height / height), 0.5, 0.5)


def enlarged(pictures: list[Picture], resolution: int) -> list[tuple[Picture, float]]:
    """The pictures that are smaller than their bucket, with the factor by which their centre crop is enlarged."""
    factors = [(picture, crops_for(picture, resolution, 0, 0)[0].enlargement) for picture in pictures]
    return [(picture, factor) for picture, factor in factors if factor > 1]


def sizes(picture: Picture, crop: Crop) -> Sizes:
    """What XL is told of a crop (Podell et al. 2023, section 2.2): the picture's own size; how much of it was cut off
    above and on the left, in pixels of the resampled picture; and the crop's size."""
    left, top, right, _ = crop.box
    scale_x, scale_y = crop.enlargement, crop.height / (crop.box[3] - top)
    cut_left = picture.width - right if crop.mirrored else left
    return picture.height, picture.width, round(top * scale_y), round(cut_left * scale_x), crop.height, crop.width


def pixels(image: Image.Image, crop: Crop) -> Tensor:
    """Float32 (3, height, width) in -1..1 of an RGB image's crop, by Lanczos."""
    view = _view(image, crop, (crop.width, crop.height), Image.Resampling.LANCZOS)
    view = view if crop.light is None else crop.light.on(view)
    return torch.from_numpy(np.asarray(view, dtype=np.float32) / 127.5 - 1).permute(2, 0, 1).contiguous()


def coverage(mask: Image.Image, crop: Crop, factor: int) -> Tensor:
    """Float32 (height/factor, width/factor) in 0..1: the share of a mask's white under each latent pixel of a crop."""
    view = _view(mask, crop, (crop.width // factor, crop.height // factor), Image.Resampling.BOX)
    return torch.from_numpy(np.asarray(view, dtype=np.float32) / 255).contiguous()


def _view(image: Image.Image, crop: Crop, size: tuple[int, int], filter: Image.Resampling) -> Image.Image:
    view = image.resize(size, filter, box=crop.box)
    return view.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if crop.mirrored else view


def _light(rng: random.Random, jitter: float) -> Light:
    return Light(*(rng.uniform(1 - jitter, 1 + jitter) for _ in range(3)))


def _place(picture: Picture, width: int, height: int, scale: float, across: float, down: float) -> Crop:
    box_width, box_height = min(width * scale, picture.width), min(height * scale, picture.height)
    left, top = (picture.width - box_width) * across, (picture.height - box_height) * down
    # Rounding of the sums must not leave the picture: Pillow refuses such a box.
    right, bottom = min(left + box_width, picture.width), min(top + box_height, picture.height)
    return Crop((left, top, right, bottom), width, height)
