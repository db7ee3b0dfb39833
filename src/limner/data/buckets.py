"""Aspect-ratio buckets: the sizes that pictures are trained in. No torch here: preparing pictures needs them too."""

import math
from collections.abc import Sequence

from limner.errors import UserError

MOST_ENLARGEMENT = 1.5  # times along a side; beyond this a person sees the blur
NEAR = 0.8  # a bucket competes if it shows at least this share of what the one nearest in shape shows
FACTOR = 8  # pixels of a picture for each one of its latents


def buckets(resolution: int, step: int | None = None, count: int | None = None) -> list[tuple[int, int]]:
    """The (width, height) that training uses: sides in steps of 64 (16 up to resolution 256), area at most
    resolution^2 and as near to it as the step allows, sides from half to double the resolution.

    step: another one. count: at most so many, those nearest to a square; a portrait and its landscape come together.
    Raises UserError for a resolution that is no multiple of the step, a step that latents cannot have, or no bucket.
    """
    step = step or usual_step(resolution)
    if step < FACTOR or step % FACTOR:
        better = max(1, round(step / FACTOR)) * FACTOR
        raise UserError(f"a bucket step of {step} pixels is no multiple of {FACTOR}; take {better}")
    if resolution < 2 * step or resolution % step:
        better = max(2, round(resolution / step)) * step
        raise UserError(f"a resolution of {resolution} pixels is no multiple of {step}; take {better}")
    if count is not None and count < 1:
        raise UserError(f"{count} buckets hold no picture; take at least 1")
    shortest = math.ceil(resolution / 2 / step) * step
    landscape = set()
    for width in range(resolution, 2 * resolution + 1, step):
        height = resolution**2 // width // step * step
        if height >= shortest:
            landscape.add((width, height))
    found = sorted(landscape | {(height, width) for width, height in landscape})
    found = [size for size in found if assign(*size, found) == size]  # of the same shape training takes the larger
    return found if count is None else sorted(_squarest(found, count))


def usual_step(resolution: int) -> int:
    """Pixels between the sides of buckets where nobody says it."""
    return 16 if resolution <= 256 else 64


def assign(width: float, height: float, choices: Sequence[tuple[int, int]]) -> tuple[int, int]:
    """The bucket whose aspect ratio is nearest to a picture's, by the ratio's logarithm; of equals the larger."""
    aspect = math.log(width / height)
    return min(
        choices, key=lambda size: (round(abs(math.log(size[0] / size[1]) - aspect), 9), -size[0] * size[1], size)
    )


def near(width: float, height: float, sizes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The buckets that may be chosen for a picture, since they show hardly less of it than the one nearest in shape."""
    nearest = view_area(width, height, assign(width, height, sizes))
    return [size for size in sizes if view_area(width, height, size) >= NEAR * nearest]


def view_area(width: float, height: float, size: tuple[int, int]) -> float:
    """Of the largest view of a size's shape in a picture, in its pixels."""
    return size[0] * size[1] * min(width / size[0], height / size[1]) ** 2


def enlargement(width: float, height: float, sizes: Sequence[tuple[int, int]]) -> float:
    """How many times a picture's sides must be enlarged at least, to fill a bucket that may be chosen for it."""
    return min(max(size[0] / width, size[1] / height) for size in near(width, height, sizes))


def trained_whole(width: int, height: int, resolution: int) -> bool:
    """Whether training at a resolution takes a picture of this size as it is, without a crop or resampling."""
    return assign(width, height, buckets(resolution)) == (width, height)


def _squarest(sizes: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """The most nearly square, whole pairs of portrait and landscape, at most `count`."""
    pairs: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for size in sorted(sizes, key=lambda size: max(size) / min(size)):
        pairs.setdefault((max(size), min(size)), []).append(size)
    chosen: list[tuple[int, int]] = []
    for pair in pairs.values():
        if len(chosen) + len(pair) > count:
            break
        chosen += pair
    return chosen
