"""What came of laying pictures over each other, pair by pair, on disk: a search that was stopped goes on from there."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from limner.checking.facts import MEASURED
from limner.database import changing, open_database, remove_database
from limner.errors import UserError
from limner.vision.align import Alignment
from limner.vision.recolour import Agreement

COMPARED = 2  # how pictures are compared; what was found in another way is found anew
FILE = "compared.sqlite"
MIGRATIONS = (
    """
    CREATE TABLE pairs (one TEXT, other TEXT, found TEXT, PRIMARY KEY (one, other));
    CREATE TABLE recipe (compared INTEGER, measured INTEGER);
    """,
    """
    CREATE TABLE candidates (one INTEGER, other INTEGER, unlikely INTEGER, PRIMARY KEY (one, other)) WITHOUT ROWID;
    CREATE INDEX candidates_by_turn ON candidates (unlikely, one, other);
    """,
)
MILLION = 1_000_000  # to which likelihoods are rounded, so that their order does not hang on the last bit
Pair = tuple[str, str]  # of the SHA-256 of two files


@dataclass(frozen=True)
class Comparing:
    """Pairs of pictures that may show the same were compared: so many of so many."""

    done: int
    total: int


class Outcomes:
    """By pairs: how the second lies on the first, None if they are not one picture. A damaged file begins anew."""

    def __init__(self, folder: Path) -> None:
        path = folder / FILE
        try:
            self._base = open_database(path, MIGRATIONS)
        except UserError:
            remove_database(path)
            self._base = open_database(path, MIGRATIONS)
        self._forget_others()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._base.close()

    def _forget_others(self) -> None:
        """Empty the table of what was found in another way."""
        found = self._base.execute("SELECT compared, measured FROM recipe").fetchone()
        if found != (COMPARED, MEASURED):
            with changing(self._base):
                self._base.execute("DELETE FROM pairs")
                self._base.execute("DELETE FROM recipe")
                self._base.execute("INSERT INTO recipe VALUES (?, ?)", (COMPARED, MEASURED))

    def line_up(self, likely: Iterable[tuple[int, int, float]]) -> int:
        """Put pairs of places with their likelihood, 0..1, in line for `rounds`. Returns how many different ones."""
        with changing(self._base):
            self._base.execute("DELETE FROM candidates")
            self._base.executemany(
                "INSERT INTO candidates VALUES (?, ?, ?) ON CONFLICT (one, other) "
                "DO UPDATE SET unlikely = min(unlikely, excluded.unlikely)",
                ((one, other, -round(likelihood * MILLION)) for one, other, likelihood in likely),
            )
        return self._base.execute("SELECT count(*) FROM candidates").fetchone()[0]

    def rounds(self, size: int) -> Iterator[list[tuple[int, int]]]:
        """The pairs in line, so many at a time, the likeliest first; at the end the line is empty."""
        last = (-2 * MILLION, 0, 0)
        while True:
            found = self._base.execute(
                "SELECT unlikely, one, other FROM candidates WHERE (unlikely, one, other) > (?, ?, ?) "
                "ORDER BY unlikely, one, other LIMIT ?",
                (*last, size),
            ).fetchall()
            if not found:
                break
            last = found[-1]
            yield [(one, other) for _, one, other in found]
        self._base.execute("DELETE FROM candidates")

    def of(self, pairs: Iterable[Pair]) -> dict[Pair, Alignment | None]:
        """Those that are known."""
        found = {}
        for pair in pairs:
            row = self._base.execute("SELECT found FROM pairs WHERE one = ? AND other = ?", pair).fetchone()
            if row is not None:
                found[pair] = _alignment(row[0])
        return found

    def keep(self, found: Mapping[Pair, Alignment | None]) -> None:
        rows = [(*pair, json.dumps(asdict(each)) if each is not None else "") for pair, each in found.items()]
        with changing(self._base):
            self._base.executemany("INSERT OR REPLACE INTO pairs VALUES (?, ?, ?)", rows)


def _alignment(text: str) -> Alignment | None:
    if not text:
        return None
    values = json.loads(text)
    values |= {"covers": tuple(values["covers"]), "agreement": Agreement(**values["agreement"])}
    return Alignment(**values)
