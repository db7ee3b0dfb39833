"""Which pictures might show the same: by hashes and by features, without looking at every pair in Python."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limner.checking.facts import Facts
from limner.vision.hashes import TURNS

NEAR = 12  # bits of 64; pairs of unrelated pictures are nearer once in four million times
ALIKE = 0.6  # cosine of features
NEIGHBOURS = 6  # of a picture, by features, and as many by hashes
MOST_BY_FEATURES = 20_000  # pictures; of more the hashes alone are compared, for nearly all have neighbours by features
BLOCK = 512  # pictures that are compared with all others at once


@dataclass(frozen=True)
class Hashes:
    """Perceptual hashes of n pictures, 64 bits each. owners: whose they are; turned: (m, TURNS + 1), as it is first."""

    owners: NDArray[np.int64]
    turned: NDArray[np.uint64]

    @staticmethod
    def of(numbered: Iterator[tuple[int, Facts]]) -> "Hashes":
        """Of pictures with their numbers, which rise; one with a border has two."""
        owners, turned = [], []
        for number, facts in numbered:
            named = dict(facts.hashes)
            for name in ("whole", "inside"):
                if name in named:
                    digits = named[name] + named[f"{name} turned"]
                    owners.append(number)
                    turned.append(np.frombuffer(bytes.fromhex(digits), ">u8").astype(np.uint64))
        return Hashes(np.array(owners, np.int64), np.array(turned, np.uint64).reshape(len(owners), TURNS + 1))

    def pairs(self) -> Iterator[tuple[int, int, float]]:
        """Pairs of owners (the smaller first) that are near in some turn, with 1 for equal hashes, less for others."""
        for start in range(0, len(self.owners), BLOCK):
            rows = self.turned[start : start + BLOCK]
            owners = self.owners[start : start + BLOCK]
            others, later = self.turned[start:, 0], self.owners[start:]
            nearest = np.full((len(rows), len(others)), 64, np.uint8)
            for turn in range(TURNS + 1):
                np.minimum(nearest, np.bitwise_count(rows[:, turn, None] ^ others), out=nearest)
            nearest[later[None, :] <= owners[:, None]] = 64
            for row, found in _nearest_of_each(nearest):
                yield int(owners[row]), int(later[found]), 1 - int(nearest[row, found]) / (NEAR + 1)


def _nearest_of_each(distances: NDArray[np.uint8]) -> Iterator[tuple[int, int]]:
    """Of each row the NEIGHBOURS nearest columns that are near at all."""
    for row in np.flatnonzero((distances <= NEAR).any(1)):
        found = np.flatnonzero(distances[row] <= NEAR)
        for column in found[np.argsort(distances[row, found], kind="stable")[:NEIGHBOURS]]:
            yield int(row), int(column)


def alike(features: NDArray[np.int8], rows: NDArray[np.int64]) -> Iterator[tuple[int, int, float]]:
    """Pairs of places in `rows` (the smaller first) whose features are alike, with their cosine; each at least once.

    features: int8 (n, width), mapped from disk; they are read block by block.
    """
    count = len(rows)
    for start in range(0, count, BLOCK):
        block = unit(features[rows[start : start + BLOCK]])
        best: dict[int, list[tuple[float, int]]] = defaultdict(list)
        for other in range(0, count, BLOCK):
            cosines = block @ unit(features[rows[other : other + BLOCK]]).T
            if other == start:
                np.fill_diagonal(cosines, -1)
            for row in np.flatnonzero((cosines >= ALIKE).any(1)):
                found = np.flatnonzero(cosines[row] >= ALIKE)
                found = found[np.argsort(-cosines[row, found], kind="stable")[:NEIGHBOURS]]
                best[int(row)] += [(float(cosines[row, column]), other + int(column)) for column in found]
        for place, near in best.items():
            for cosine, neighbour in sorted(near, key=lambda each: (-each[0], each[1]))[:NEIGHBOURS]:
                yield min(start + place, neighbour), max(start + place, neighbour), cosine


def unit(features: NDArray[np.int8]) -> NDArray[np.float32]:
    """Rows of unit length; a row of zeros stays one."""
    values = np.asarray(features, np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
