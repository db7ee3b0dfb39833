"""One picture's facts, from its bytes: decoded once, at a size that shows what is asked."""

import functools
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from limner.checking.facts import Facts
from limner.data.colour import to_srgb
from limner.data.decode import Unusable, check, decode
from limner.data.source import Source
from limner.vision.hashes import phash

if TYPE_CHECKING:
    from limner.evaluate.features import Evaluator


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

    def __call__(self, source: Source) -> Measured:
        """What is to be known of a picture; never raises for what the file is."""
        try:
            data = source.read()
        except Unusable as problem:
            return Measured(Facts(source.name, problem=str(problem)))
        known = {"name": source.name, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
        try:
            width, height = check(data)
        except Unusable as problem:
            return Measured(Facts(**known, problem=str(problem)))  # type: ignore[arg-type]
        image = to_srgb(decode(data))
        hashes = (("whole", phash(image)),)
        facts = Facts(**known, width=width, height=height, hashes=hashes)  # type: ignore[arg-type]
        return Measured(facts, features_of(image) if self.features else None)


def measure(source: Source) -> Measured:
    """All that is to be known of a picture; never raises for what the file is."""
    return Measure()(source)


def features_of(image: Image.Image) -> NDArray[np.int8]:
    """Measured.features of an RGB picture. It computes with one thread: the pool has a process for each core."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        pooled = _evaluator()([image]).pooled[0].numpy()
    finally:
        torch.set_num_threads(threads)
    return np.rint(pooled * (127 / np.abs(pooled).max())).astype(np.int8)


@functools.cache
def _evaluator() -> "Evaluator":
    from limner.evaluate.features import Evaluator

    return Evaluator()
