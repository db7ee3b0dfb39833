"""Which pictures might show the same: by hashes and by features, without looking at every pair in Python."""

from array import array
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from limner.checking.facts import Facts
from limner.vision.hashes import TURNS

NEAR = 12  # bits of 64; pairs of unrelated pictures are nearer once in four million times
NEAR_OF_MANY = 10  # likewise, of more than MOST_BY_FEATURES; once in 100 million, for their pairs are billions
ALIKE = 0.6  # cosine of features
NEIGHBOURS = 6  # of a picture, by features, and as many by hashes
MOST_BY_FEATURES = 20_000  # pictures; of more the hashes alone are compared, for nearly all have neighbours by features
BLOCK = 512  # pictures whose features are compared with all others' at once
ROWS, COLUMNS = 128, 2048  # hashes that are compared at once
FAR = 64  # bits


@dataclass(frozen=True)
class Hashes:
    """Perceptual hashes of n pictures, 64 bits each. owners: whose they are; turned: (m, TURNS + 1), as it is first."""

    owners: NDArray[np.int64]
    turned: NDArray[np.uint64]

    @staticmethod
    def of(numbered: Iterator[tuple[int, Facts]]) -> "Hashes":
        """Of pictures with their numbers, which rise; one with a border has two."""
        owners, turned = array("q"), bytearray()
        for number, facts in numbered:
            named = dict(facts.hashes)
            for name in ("whole", "inside"):
                if name in named:
                    owners.append(number)
                    turned += bytes.fromhex(named[name] + named[f"{name} turned"])
        values = np.frombuffer(turned, ">u8").astype(np.uint64)
        return Hashes(np.array(owners, np.int64), values.reshape(len(owners), TURNS + 1))

    def pairs(self, near: int = NEAR) -> Iterator[tuple[int, int, float]]:
        """Pairs of owners (the smaller first) that are near in some turn, with 1 for equal hashes, less for others.

        near: bits in which they differ at most.

        All are compared with all, in blocks that stay in the processor's cache: 100,000 pictures take a minute or two.
        """
        for start in range(0, len(self.owners), ROWS):
            block = slice(start, start + ROWS)
            best = _Best(near)
            for first in range(start, len(self.owners), COLUMNS):
                later = self.owners[first : first + COLUMNS]
                nearest = _nearest(self.turned[block], self.turned[first : first + COLUMNS, 0])
                nearest[later[None, :] <= self.owners[block, None]] = FAR
                best.add(nearest, first)
            for row, found, distance in zip(best.rows, best.columns, best.distances, strict=True):
                yield int(self.owners[start + row]), int(self.owners[found]), 1 - int(distance) / (NEAR + 1)


def _nearest(turned: NDArray[np.uint64], others: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """(rows, columns) bits in which each of `others` differs from the turn of each row that is nearest to it."""
    shape = len(turned), len(others)
    bits, count, nearest = np.empty(shape, np.uint64), np.empty(shape, np.uint8), np.full(shape, FAR, np.uint8)
    for turn in range(TURNS + 1):
        np.bitwise_xor(turned[:, turn, None], others, out=bits)
        np.minimum(nearest, np.bitwise_count(bits, out=count), out=nearest)
    return nearest


@dataclass
class _Best:
    """Of each row the NEIGHBOURS nearest columns that are near at all, of the blocks that were added."""

    near: int
    rows: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    columns: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    distances: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, np.uint8))

    def add(self, distances: NDArray[np.uint8], first: int) -> None:
        """distances: of a block's columns, which begin at the first."""
        rows, columns = np.nonzero(distances <= self.near)
        if not len(rows):
            return
        found = distances[rows, columns]
        rows, columns = np.concatenate([self.rows, rows]), np.concatenate([self.columns, columns + first])
        found = np.concatenate([self.distances, found])
        order = np.lexsort((columns, found, rows))
        ranks = np.arange(len(order)) - np.searchsorted(rows[order], rows[order])
        kept = order[ranks < NEIGHBOURS]
        self.rows, self.columns, self.distances = rows[kept], columns[kept], found[kept]


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
                near = [(float(cosines[row, column]), other + int(column)) for column in found]
                best[int(row)] = sorted([*best[int(row)], *near], key=lambda each: (-each[0], each[1]))[:NEIGHBOURS]
        for place, near in best.items():
            for cosine, neighbour in near:
                yield min(start + place, neighbour), max(start + place, neighbour), cosine


def unit(features: NDArray[np.int8]) -> NDArray[np.float32]:
    """Rows of unit length; a row of zeros stays one."""
    values = np.asarray(features, np.float32)
    return values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-6)
