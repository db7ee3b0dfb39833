"""Pictures looked at from end to end: each measured once, then all of them judged as a set."""

from array import array
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import replace

from limner.checking.advice import remarks_on
from limner.checking.candidates import MOST_BY_FEATURES
from limner.checking.compared import Comparing
from limner.checking.duplicates import find_duplicates
from limner.checking.facts import Facts
from limner.checking.findings import Wanted
from limner.checking.pool import Workers, in_order, open_workers
from limner.checking.remembered import remembered_groups
from limner.checking.store import Store
from limner.checking.variety import MOST_COMPARED, variety_of
from limner.checking.verdict import Verdict
from limner.data.source import Source
from limner.events import Prepared, Warned
from limner.generators import retold

MANY = (
    "{count:,} pictures are too many to look for cropped, tilted or heavily edited copies by what they show, for among "
    "so many nearly all have others that are like them; above {most:,} copies are found by their perceptual hashes "
    "alone: give smaller folders if such copies matter"
)


def examining(
    sources: Iterable[Source],
    wanted: Wanted,
    workers: int | Workers,
    store: Store,
    total: int,
    seen: Callable[[Facts], None] = lambda facts: None,
) -> Generator[Prepared | Warned, None, Verdict]:
    """`examine` in the events of a run. total: of the sources. seen: is given the facts of each as they are known."""
    done = 0

    def told(event: Facts | Comparing | Warned) -> Prepared | Warned:
        nonlocal done
        if isinstance(event, Warned):
            return event
        if isinstance(event, Comparing):
            return Prepared(event.done, event.total, "comparing pictures")
        seen(event)
        done += 1
        return Prepared(done, max(done, total), "looking at pictures")

    return retold(examine(sources, wanted, workers, store), told)


def examine(
    sources: Iterable[Source], wanted: Wanted, workers: int | Workers, store: Store
) -> Generator[Facts | Comparing | Warned, None, Verdict]:
    """The facts of each source, in order, as they are known, then how far comparing them is, and what of that is left
    undone; returned at the end, what is thought of them.

    Pictures that the store knows are not measured again. Sources are of one root, as find_sources gives them; they may
    be many, for nothing of them is held in memory but their row in the store.
    """
    rows = array("q")
    waiting: deque[tuple[int, Source]] = deque()
    first: list[Source] = []

    def unknown() -> Iterator[Source]:
        for source in sources:
            first[:] = first or [source]
            row = store.find(source)
            rows.append(-1 if row is None else row)
            if row is None:
                waiting.append((len(rows) - 1, source))
                yield source

    told = 0
    with open_workers(workers) as crew:
        try:
            for measured in in_order(store.measure, unknown(), crew):
                at, source = waiting.popleft()
                yield from (store.facts(rows[known]) for known in range(told, at))
                rows[at] = store.add(source, measured)
                yield measured.facts
                told = at + 1
            yield from (store.facts(rows[known]) for known in range(told, len(rows)))
        finally:
            store.flush()
        if len(rows) > MOST_BY_FEATURES:
            yield Warned(MANY.format(count=len(rows), most=MOST_BY_FEATURES))
        some = first[0] if first else None
        comparing = find_duplicates(store, rows, some, wanted, crew)
        groups = yield from remembered_groups(store, rows, wanted, comparing)
    verdict = Verdict(store, rows, first[0] if first else None, wanted, groups)
    kept = ((at, each.row, each.facts) for at, each in enumerate(verdict) if each.proposal.keep)
    every = max(1, -(-len(rows) // MOST_COMPARED))
    variety = variety_of(kept, store.features(), wanted.subject, every)
    remarks = tuple(remarks_on(variety, wanted, lambda at: verdict.facts(at).name))
    return replace(verdict, variety=variety, remarks=remarks)
