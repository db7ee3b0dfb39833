"""Pictures that show the same: the same file twice, or one edited from another."""

from collections import defaultdict
from collections.abc import Sequence

from limner.checking.store import Store
from limner.checking.verdict import Group, Twin
from limner.data.source import Source


def find_duplicates(store: Store, rows: Sequence[int], first: Source | None, workers: int) -> tuple[Group, ...]:
    """The groups of pictures that show the same, in the order of their best."""
    same = defaultdict(list)
    for at, row in enumerate(rows):
        facts = store.facts(row)
        if not facts.problem:
            same[bytes.fromhex(facts.sha256)].append(at)
    return tuple(
        Group(places[0], tuple(Twin(at, "the same file as") for at in places[1:]))
        for places in same.values()
        if len(places) > 1
    )
