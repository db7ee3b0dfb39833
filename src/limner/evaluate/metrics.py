"""Figures from features: likeness, style, near-copies and drift, and what makes them comparable.

A similarity means little by itself: it is reported with its floor (the untrained base), its ceiling (real pictures)
and its spread over seeds.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from limner.evaluate.features import Features

COPY_SIDE = 32  # pixels, of the thumbnails that are searched for copies
COPY_CORRELATION = 0.95
RARE = 1e-2  # a channel that hardly varies counts as if it varied by this share of the typical one's variance


@dataclass(frozen=True)
class Figure:
    """A measurement between what the untrained base reaches and what real pictures reach."""

    score: float
    floor: float
    ceiling: float

    @property
    def normalised(self) -> float | None:
        """0 at the floor, 1 at the ceiling; None where the ceiling is not above the floor: nothing can be said then."""
        room = self.ceiling - self.floor
        return (self.score - self.floor) / room if room > 0 else None


@dataclass(frozen=True)
class Spread:
    """Mean and sample deviation over seeds; no claim should rest on a difference under twice the deviation."""

    mean: float
    deviation: float | None

    @staticmethod
    def of(values: Sequence[float]) -> "Spread":
        """Of one value the deviation is None: unknown, not 0."""
        return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None)


def likeness(generated: Features, real: Features) -> float:
    """Mean cosine between every generated picture and every real one: DreamBooth's measure (arXiv 2208.12242)."""
    return float((generated.pooled @ real.pooled.T).mean())


def likeness_to_others(pictures: Features, real: Features) -> float:
    """As `likeness`, where row i of the pictures is made of real picture i, which is not compared with it.

    Raises ValueError for fewer than two.
    """
    count = len(real)
    if count < 2:
        raise ValueError("one picture has no others to be like")
    cosines = pictures.pooled @ real.pooled.T
    return float((cosines.sum() - cosines.trace()) / (count * (count - 1)))


def likeness_by_object(generated: Features, real: Features) -> float:
    """Mean cosine of pictures of the same objects, row by row."""
    return float((generated.pooled * real.pooled).sum(1).mean())


def style_scale(*sets: Features) -> Tensor:
    """What a unit is in each channel of style features, (512,): its deviation over the pictures of all sets."""
    variance = torch.cat([features.style for features in sets]).var(0)
    return (variance + RARE * variance.mean()).sqrt()


def style_distance(generated: Features, real: Features, scale: Tensor) -> float:
    """How far apart two sets are drawn, whatever they show: a channel's root mean square shift, in units of `scale`.

    The square is freed of what chance adds to the distance of two means (the unbiased estimate that maximum mean
    discrepancy uses, with a linear kernel), so that two samples of one style are 0 apart in the mean.
    """
    a, b = generated.style / scale, real.style / scale
    between = (a.mean(0) * b.mean(0)).sum()
    return _root((_square_of_mean(a) + _square_of_mean(b) - 2 * between) / len(scale))


def style_distance_by_object(generated: Features, real: Features, scale: Tensor) -> float:
    """`style_distance` of pictures of the same objects, row by row: what the objects add falls out."""
    return _root(_square_of_mean((generated.style - real.style) / scale) / len(scale))


def share_of_way(drawings: Tensor, base: Tensor, real: Tensor, by_object: bool) -> float | None:
    """What share of the way from the base's drawings to the real pictures drawings have gone: 0 at those of the base, 1
    at the real ones, by features (n, channels).

    The shift of their mean is projected on the way; what moved across it, as what a small base draws badly once it is
    trained, is for other figures. Row i of the drawings and of the base is one prompt and seed; with by_object row i of
    `real` shows the same object. No row meets itself in a product, so that drawings which only vary are 0 in the mean.
    None where the base cannot be told from the real pictures.

    Raises ValueError for fewer than two rows.
    """
    moved = drawings - base
    if by_object:
        gone, way = _product_of_means(moved, real - base), _square_of_mean(real - base)
    else:
        gone = moved.mean(0) @ real.mean(0) - _product_of_means(moved, base)
        way = _square_of_mean(real) + _square_of_mean(base) - 2 * real.mean(0) @ base.mean(0)
    return float(gone / way) if way > 0 else None


def _square_of_mean(rows: Tensor) -> Tensor:
    """Unbiased squared length of the mean that rows (n, channels) are a sample of."""
    return _product_of_means(rows, rows)


def _product_of_means(one: Tensor, other: Tensor) -> Tensor:
    """Unbiased scalar product of the means that the columns of rows (n, channels), drawn together, are a sample of."""
    count = len(one)
    if count < 2:
        raise ValueError("a mean needs at least two pictures")
    return (one.sum(0) @ other.sum(0) - (one * other).sum()) / (count * (count - 1))


def _root(square: Tensor) -> float:
    return float(square.clamp(min=0).sqrt())


def near_copies(generated: Sequence[Image.Image], training: Sequence[Image.Image]) -> list[bool]:
    """Which pictures repeat a training picture, as it is or mirrored.

    A copy's 32x32 thumbnail correlates with the training picture's above 0.95, and more than 99% of the pairs of
    training pictures do with each other: pictures that were alike from the start are no sign of memory.
    """
    known = normalize(_thumbnails(training).flatten(1), dim=1)
    mirrored = normalize(_thumbnails(training).flip(3).flatten(1), dim=1)
    threshold = COPY_CORRELATION
    if len(training) > 1:
        rows, columns = torch.triu_indices(len(training), len(training), 1)
        alike = torch.maximum(known @ known.T, known @ mirrored.T)[rows, columns]
        threshold = max(threshold, float(alike.quantile(0.99)))
    found = normalize(_thumbnails(generated).flatten(1), dim=1)
    nearest = torch.maximum(found @ known.T, found @ mirrored.T).amax(1)
    return [bool(value > threshold) for value in nearest]


def _thumbnails(images: Sequence[Image.Image]) -> Tensor:
    """Colour thumbnails (n, 3, 32, 32), each channel free of its mean."""
    sides = (COPY_SIDE, COPY_SIDE)
    small = [image.convert("RGB").resize(sides, Image.Resampling.BOX) for image in images]
    levels = torch.stack([torch.frombuffer(bytearray(i.tobytes()), dtype=torch.uint8).view(*sides, 3) for i in small])
    pixels = levels.permute(0, 3, 1, 2).float()
    return pixels - pixels.mean((2, 3), keepdim=True)


def drift(before: Features, after: Features) -> float:
    """How far pictures of the same prompts and seeds moved: the mean of 1 - cosine, row by row."""
    return 1 - likeness_by_object(after, before)
