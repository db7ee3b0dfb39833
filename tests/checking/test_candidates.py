"""Candidates among many: those that are near by hash or features, and no others."""

import numpy as np
import pytest

from limner.checking import candidates
from limner.checking.candidates import NEIGHBOURS, Hashes, alike
from limner.checking.facts import Facts
from limner.vision.hashes import TURNS


def facts(whole: int, turned: list[int] | None = None, inside: int | None = None) -> Facts:
    others = "".join(f"{value:016x}" for value in (turned or [~whole & (1 << 64) - 1] * TURNS))
    hashes = [("whole", f"{whole:016x}"), ("whole turned", others)]
    if inside is not None:
        hashes += [("inside", f"{inside:016x}"), ("inside turned", others)]
    return Facts("x", hashes=tuple(hashes))


def test_near_hashes_are_found_as_they_are_turned_and_inside_borders() -> None:
    rng = np.random.default_rng(0)
    numbers = [int(value) for value in rng.integers(0, 1 << 63, 40)]
    all_facts = [facts(number) for number in numbers]
    all_facts[10] = facts(numbers[3] ^ 0b1011)  # three bits off
    all_facts[20] = facts(numbers[20], [numbers[7], *[numbers[39]] * (TURNS - 1)])  # as 7 and 39 are, turned
    all_facts[30] = facts(numbers[30], inside=numbers[5])
    found = {pair[:2] for pair in Hashes.of(iter(enumerate(all_facts))).pairs()}
    assert found == {(3, 10), (5, 30), (20, 39)}  # a turned copy is looked for among the later ones


def test_blocks_of_hashes_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    first = int(rng.integers(0, 1 << 63))
    near = [facts(first ^ int(rng.integers(0, 1 << 5)) << int(rng.integers(0, 50))) for _ in range(40)]
    hashes = Hashes.of(iter(enumerate(near)))
    whole = list(hashes.pairs())
    assert 0 < len(whole) <= 40 * NEIGHBOURS
    for one in range(40):  # those of each are the nearest of all that come later
        bits = [
            (int(hashes.turned[one, 0] ^ hashes.turned[other, 0]).bit_count(), other) for other in range(one + 1, 40)
        ]
        nearest = sorted(each for each in bits if each[0] <= candidates.NEAR)[:NEIGHBOURS]
        assert [other for owner, other, _ in whole if owner == one] == [other for _, other in nearest]
    monkeypatch.setattr(candidates, "ROWS", 7)
    monkeypatch.setattr(candidates, "COLUMNS", 5)
    assert list(hashes.pairs()) == whole


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    features = rng.integers(-127, 128, (60, 32)).astype(np.int8)
    features[41] = features[2]
    features[59] = features[2] // 2
    rows = np.arange(60)
    whole = sorted(set(alike(features, rows)))
    monkeypatch.setattr(candidates, "BLOCK", 7)
    assert [pair[:2] for pair in sorted(set(alike(features, rows)))] == [pair[:2] for pair in whole]
    assert {(2, 41), (2, 59), (41, 59)} <= {pair[:2] for pair in whole}


def test_of_many_that_are_alike_each_has_a_few_neighbours() -> None:
    features = np.ones((50, 8), np.int8)
    assert len(set(alike(features, np.arange(50)))) <= 50 * NEIGHBOURS
