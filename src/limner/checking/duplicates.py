"""Pictures that show the same: the same file twice, or one edited from another."""

import functools
from array import array
from collections import defaultdict
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from limner.checking.candidates import MOST_BY_FEATURES, NEAR, NEAR_OF_MANY, Hashes, alike
from limner.checking.compared import Comparing, Outcomes
from limner.checking.facts import Facts
from limner.checking.findings import Wanted, findings
from limner.checking.pool import Workers, in_order
from limner.checking.store import Store
from limner.checking.verdict import Group, Twin
from limner.data.colour import to_srgb
from limner.data.decode import Unusable, decode, problems
from limner.data.source import Source
from limner.vision.align import SIDE, Alignment, Sketch, align, sketch

ROUND = 64  # pairs that are compared before what they joined is used; always so many, whatever the workers
FEW = 2 * ROUND  # pairs that are compared sooner than worker processes start
ADDED = ("text", "border", "screenshot")  # kinds of findings that an edit may have put there
WRITTEN = 0.003  # of Facts.text, by which more is written on a copy
RECOMPRESSED = 60  # quality of a JPEG from which on that is said beside other things
SHIFTED = 12.0  # levels, of mean difference, above which colours are said to be changed


@dataclass(frozen=True)
class Shown:
    """A picture as it is laid on another: without its border."""

    source: Source
    border: tuple[float, float, float, float]

    def sketch(self) -> Sketch | None:
        """None if it can no longer be read."""
        return _sketch(self)


@functools.lru_cache(256)
def _sketch(shown: Shown) -> Sketch | None:
    try:
        with problems():
            image = to_srgb(decode(shown.source.read(), at_least=SIDE))
    except Unusable:
        return None
    left, top, right, bottom = shown.border
    wide, high = image.size
    return sketch(
        image.crop((round(left * wide), round(top * high), wide - round(right * wide), high - round(bottom * high)))
    )


def compare(pair: tuple[Shown, Shown]) -> Alignment | None:
    """How the second lies on the first, if they are one picture."""
    one, other = (shown.sketch() for shown in pair)
    found = align(one, other) if one is not None and other is not None else None
    return found if found is not None and found.same else None


class Joined:
    """Sets of things that grow together (union-find)."""

    def __init__(self) -> None:
        self._parents: dict[int, int] = {}

    def root(self, thing: int) -> int:
        while (parent := self._parents.get(thing, thing)) != thing:
            thing = parent
        return thing

    def join(self, one: int, other: int) -> None:
        one, other = sorted((self.root(one), self.root(other)))
        self._parents[other] = one

    def groups(self) -> list[list[int]]:
        found = defaultdict(list)
        for thing in sorted(set(self._parents) | set(self._parents.values())):
            found[self.root(thing)].append(thing)
        return [found[root] for root in sorted(found)]


def find_duplicates(
    store: Store, rows: Sequence[int], first: Source | None, wanted: Wanted, workers: int | Workers
) -> Generator[Comparing, None, tuple[Group, ...]]:
    """Returned at the end: the groups of pictures that show the same, in the order of the first of each. first: any of
    the sources.

    Candidates come by hashes and features; each is confirmed by laying the pictures over each other. The same groups
    come of the same pictures whatever the number of workers. What was compared is kept in the store's folder.
    """
    if first is None:
        return ()
    joined = Joined()
    leaders = _join_same_files(store, rows, joined)
    relations = yield from _confirmed(store, rows, leaders, first, joined, workers)
    return tuple(_group(places, store, rows, first, wanted, relations) for places in joined.groups())


def _join_same_files(store: Store, rows: Sequence[int], joined: Joined) -> NDArray[np.int64]:
    """Join the places of files that have the same bytes. Returns the first place of each usable file, rising."""
    places, digests = array("q"), bytearray()
    for at, row in enumerate(rows):
        facts = store.facts(row)
        if not facts.problem:
            places.append(at)
            digests += bytes.fromhex(facts.sha256)
    words = np.frombuffer(digests, ">u8").reshape(len(places), 4)
    order = np.lexsort(words.T)  # stable: of equal ones the first stays the first
    follows = np.zeros(len(order), bool)
    follows[1:] = (words[order[1:]] == words[order[:-1]]).all(1)
    found = np.array(places, np.int64)[order]
    for index in np.flatnonzero(follows):
        joined.join(int(found[index - 1]), int(found[index]))
    return np.sort(found[~follows])


def _confirmed(
    store: Store, rows: Sequence[int], leaders: NDArray[np.int64], first: Source, joined: Joined, workers: int | Workers
) -> Generator[Comparing, None, dict[tuple[int, int], Alignment]]:
    """Pairs of places that show the same, joined as they are found."""
    relations = {}

    def files(pair: tuple[int, int]) -> tuple[str, str]:
        return store.facts(rows[pair[0]]).sha256, store.facts(rows[pair[1]]).sha256

    def shown(at: int) -> Shown:
        facts = store.facts(rows[at])
        return Shown(Source(first.root, facts.name, first.archive), facts.border)

    def open_pairs(some: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
        return [pair for pair in some if joined.root(pair[0]) != joined.root(pair[1])]

    with Outcomes(store.folder) as outcomes:
        total = outcomes.line_up(_candidates(store, rows, leaders))
        running = isinstance(workers, Workers) and workers.running
        workers = workers if running or total > FEW else 1
        done = 0
        for pairs in outcomes.rounds(ROUND):
            still = {pair: files(pair) for pair in open_pairs(pairs)}
            known = outcomes.of(still.values())
            new = {pair: named for pair, named in still.items() if named not in known}
            looked = in_order(compare, [(shown(one), shown(other)) for one, other in new], workers)
            found = dict(zip(new.values(), looked, strict=True))
            outcomes.keep(found)
            for pair, named in still.items():
                alignment = (known | found)[named]
                if alignment is not None:
                    joined.join(*pair)
                    relations[pair] = alignment
            done += len(pairs)
            yield Comparing(done, total)
    return relations


def _candidates(store: Store, rows: Sequence[int], leaders: NDArray[np.int64]) -> Iterator[tuple[int, int, float]]:
    """Pairs of places that may show the same, with how likely that is, 0..1; some twice."""
    numbered = ((int(at), store.facts(rows[at])) for at in leaders)
    few = len(rows) <= MOST_BY_FEATURES
    yield from Hashes.of(numbered).pairs(NEAR if few else NEAR_OF_MANY)
    if few:
        places = np.array([rows[at] for at in leaders], np.int64)
        for first, second, cosine in alike(store.features(), places):
            yield int(leaders[first]), int(leaders[second]), cosine


def _group(
    places: list[int],
    store: Store,
    rows: Sequence[int],
    first: Source,
    wanted: Wanted,
    relations: dict[tuple[int, int], Alignment],
) -> Group:
    facts = {at: store.facts(rows[at]) for at in places}
    best = min(places, key=lambda at: _worth(facts[at], wanted))
    twins = [Twin(at, _how(at, best, facts, first, relations)) for at in places if at != best]
    return Group(best, tuple(twins))


def _worth(facts: Facts, wanted: Wanted) -> tuple[float | str, ...]:
    """What the best of a group has least of: faults, what was added, missing pixels, blur, lost light, losses.

    Of equals it is the one with the shortest name, which copies seldom have.
    """
    found = findings(facts, wanted)
    faults = sum(finding.level == "fault" for finding in found)
    added = sum(finding.kind in ADDED for finding in found)
    left, top, right, bottom = facts.border
    pixels = facts.width * facts.height * (1 - left - right) * (1 - top - bottom) / facts.enlarged**2
    size = -round(4 * np.log2(max(1.0, pixels)))
    loss = (100 - (facts.quality or 100)) // 10
    light = round(facts.burnt + facts.black, 1)
    return faults, added, size, -round(facts.sharpness, 1), light, loss, len(facts.name), facts.name


def _how(
    at: int, best: int, facts: dict[int, Facts], first: Source, relations: dict[tuple[int, int], Alignment]
) -> str:
    """What a picture is of the best of its group, as in "a mirrored copy of"."""
    one, other = facts[best], facts[at]
    if one.sha256 == other.sha256:
        return "the same file as"
    alignment = relations.get((min(at, best), max(at, best)))
    if alignment is None or best > at:  # relations tell how the later lies on the earlier
        shown = [Shown(Source(first.root, each.name, first.archive), each.border) for each in (one, other)]
        alignment = compare((shown[0], shown[1]))
    return describe(alignment, one, other) if alignment else "the same picture as"


def describe(alignment: Alignment, one: Facts, other: Facts) -> str:
    """What the other is of the one, in words: "a smaller, mirrored copy of"."""
    words = []
    if any(other.border) and not any(one.border):
        words.append("framed")
    if alignment.mirrored and abs(alignment.turn) > 135 and alignment.tilt < 2:
        words.append("upside-down mirrored")
    elif alignment.mirrored:
        words.append("mirrored")
    if abs(alignment.turn) > 45 and not (alignment.mirrored and abs(alignment.turn) > 135):
        words.append("turned")
    if alignment.tilt > 1.5:
        words.append("tilted")
    if alignment.covers[0] < 0.93 and alignment.covers[1] > alignment.covers[0] + 0.05:
        words.append("cropped")
    elif other.width * other.height < 0.8 * one.width * one.height:
        words.append("smaller")
    if alignment.shift > SHIFTED:
        words.append("recoloured")
    if other.text > one.text + WRITTEN:
        words.append("written-on")
    if other.sharpness < 0.7 * one.sharpness:
        words.append("blurred")
    if other.quality is not None and other.quality < (RECOMPRESSED if words else one.quality or 100):
        words.append("recompressed")
    if not words:
        return "the same picture as"
    article = "an" if words[0][0] in "aeiou" else "a"
    return f"{article} {', '.join(words)} copy of"
