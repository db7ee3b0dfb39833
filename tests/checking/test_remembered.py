"""What was found of pictures that show the same is found again without a look, as long as nothing changed."""

from collections.abc import Generator
from pathlib import Path

from limner.checking.compared import Comparing
from limner.checking.facts import Facts
from limner.checking.findings import Wanted
from limner.checking.measure import Measured
from limner.checking.remembered import GROUPS, remembered_groups
from limner.checking.store import Store
from limner.checking.verdict import Group, Twin
from limner.data.source import Source
from tests.generators import drained

FOUND = (Group(2, (Twin(0, "a smaller copy of"), Twin(1, "the same file as"))),)


def test_it_is_asked_once_for_the_same(tmp_path: Path) -> None:
    asked = []

    def find() -> Generator[Comparing, None, tuple[Group, ...]]:
        asked.append(1)
        yield Comparing(1, 1)
        return FOUND

    def groups(rows: list[int], wanted: Wanted) -> tuple[Group, ...]:
        return drained(remembered_groups(store, rows, wanted, find()))

    with Store(tmp_path / "store") as store:
        rows = [store.add(Source(tmp_path, f"{n}.png"), Measured(Facts(f"{n}.png", sha256=f"{n}"))) for n in range(4)]
        for _ in range(2):
            assert groups(rows, Wanted()) == FOUND
        assert len(asked) == 1
        groups(rows[:3], Wanted())
        groups(rows[:3], Wanted(resolution=768))
        assert len(asked) == 3
        (store.folder / GROUPS).write_text('{"key": ')
        assert groups(rows, Wanted()) == FOUND
        assert len(asked) == 4
