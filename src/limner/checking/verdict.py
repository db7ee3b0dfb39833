"""What is thought of pictures after all of them were measured: each one, and the set that they make."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from limner.checking.facts import Facts
from limner.checking.findings import KINDS, Finding, Kind, Wanted, findings
from limner.checking.remark import Remark
from limner.checking.store import Store
from limner.checking.variety import Variety
from limner.data.source import Source
from limner.inventory import named
from limner.texts import display

KINDS_OF_SETS = {
    "duplicate": Kind("fault", "duplicate", "Leave it out: what is there twice is learned twice as much."),
    "best": Kind("note", "has duplicates", "It is the one to keep."),
}
ALL_KINDS = KINDS | KINDS_OF_SETS


@dataclass(frozen=True)
class Twin:
    """A picture that shows the same as a better one. at: its place among the sources. how: completes "it is ..."."""

    at: int
    how: str


@dataclass(frozen=True)
class Group:
    """Pictures that show the same. best: the place of the one to keep, among the sources."""

    best: int
    twins: tuple[Twin, ...]

    @property
    def members(self) -> tuple[int, ...]:
        """The places of all of them, the best ahead."""
        return (self.best, *(twin.at for twin in self.twins))


@dataclass(frozen=True)
class Proposal:
    """Whether a picture is worth training on. reason: completes "it ...", empty if there is nothing against it."""

    keep: bool
    reason: str = ""


@dataclass(frozen=True)
class Judged:
    """A picture and what is thought of it, the gravest finding first. row: of its facts in the store."""

    source: Source
    row: int
    facts: Facts
    findings: tuple[Finding, ...]
    proposal: Proposal


@dataclass(frozen=True)
class Verdict:
    """Pictures in the order of their sources: iterate, or take them by their place. Nothing of them is in memory.

    rows: of the facts of each in the store. first: any of the sources, None if there are none.
    """

    store: Store
    rows: Sequence[int]
    first: Source | None
    wanted: Wanted
    groups: tuple[Group, ...] = ()
    remarks: tuple[Remark, ...] = ()
    variety: Variety = field(default_factory=Variety)
    _about: Mapping[int, tuple[Group, str]] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        about = {group.best: (group, "") for group in self.groups}
        about |= {twin.at: (group, twin.how) for group in self.groups for twin in group.twins}
        object.__setattr__(self, "_about", about)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Judged]:
        return map(self.__getitem__, range(len(self.rows)))

    def __getitem__(self, at: int) -> Judged:
        facts = self.facts(at)
        found = (*self._of_group(at), *findings(facts, self.wanted))
        order = {"unusable": 0, "fault": 1, "note": 2}
        found = tuple(sorted(found, key=lambda finding: order[finding.level]))
        return Judged(self.source(at), self.rows[at], facts, found, propose(found))

    def facts(self, at: int) -> Facts:
        return self.store.facts(self.rows[at])

    def source(self, at: int) -> Source:
        assert self.first is not None
        return Source(self.first.root, self.facts(at).name, self.first.archive)

    def _of_group(self, at: int) -> tuple[Finding, ...]:
        """What is to be said of a picture as a member of its group, if it is in one."""
        if at not in self._about:
            return ()
        group, how = self._about[at]
        if how:
            best = self.facts(group.best).name
            return (Finding("duplicate", KINDS_OF_SETS["duplicate"].level, f"is {how} {display(best)}", (best,)),)
        names = tuple(self.facts(twin.at).name for twin in group.twins)
        return (
            Finding(
                "best", KINDS_OF_SETS["best"].level, f"shows the same as {named(list(names))}, and is the best", names
            ),
        )


def propose(found: Sequence[Finding]) -> Proposal:
    """To leave out what cannot be used, what has a fault, and of pictures that show the same all but the best."""
    against = [finding for finding in found if finding.level in ("unusable", "fault")]
    return Proposal(False, against[0].sentence) if against else Proposal(True)
