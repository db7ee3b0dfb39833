"""A verdict in order for people: what to look at first, and how much there is of each kind."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from limner.checking.verdict import ALL_KINDS, Judged, Verdict

Mark = Literal["unusable", "out", "note", "fine"]
MARKS: tuple[Mark, ...] = ("unusable", "out", "note", "fine")
TITLES: dict[Mark, str] = {
    "unusable": "cannot be used",
    "out": "better left out",
    "note": "good to know",
    "fine": "nothing to say",
}


def mark_of(judged: Judged) -> Mark:
    if judged.facts.problem:
        return "unusable"
    if not judged.proposal.keep:
        return "out"
    return "note" if judged.findings else "fine"


def brief(judged: Judged) -> str:
    """What is said of a picture, the gravest in a sentence without a subject, the rest in two or three words each."""
    if not judged.findings:
        return ""
    first, *others = judged.findings
    return "; ".join([first.sentence, *dict.fromkeys(ALL_KINDS[finding.kind].title for finding in others)])


@dataclass
class Summary:
    """How many pictures there are of each mark and of each kind of finding.

    each: a picture's mark, as a place in MARKS. first_problem: of the first that cannot be used, "" if all can.
    """

    marks: Counter[Mark] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    each: bytearray = field(default_factory=bytearray)
    first_problem: str = ""

    @property
    def usable(self) -> int:
        return len(self.each) - self.marks["unusable"]

    @property
    def kept(self) -> int:
        return self.marks["note"] + self.marks["fine"]

    def worst_first(self) -> Iterator[int]:
        """The place of each picture."""
        for number in range(len(MARKS)):
            at = self.each.find(number)
            while at >= 0:
                yield at
                at = self.each.find(number, at + 1)


def summarise(verdict: Verdict) -> Summary:
    found = Summary()
    for judged in verdict:
        mark = mark_of(judged)
        found.marks[mark] += 1
        found.each.append(MARKS.index(mark))
        found.kinds.update({finding.kind for finding in judged.findings})
        if mark == "unusable" and not found.first_problem:
            found.first_problem = f"{judged.facts.name} {judged.facts.problem}"
    return found


def together(verdict: Verdict, summary: Summary, most: int) -> Iterator[tuple[int, ...]]:
    """The places of about `most` pictures that are worth a look, worst first: each alone, or with those that show the
    same, the best of them ahead."""
    groups = {at: group for group in verdict.groups for at in group.members}
    shown = bytearray(len(summary.each))
    for at in summary.worst_first():
        if shown[at]:
            continue
        group = groups.get(at)
        members = (at,) if group is None else group.members
        for member in members:
            shown[member] = 1
        yield members
        most -= len(members)
        if most <= 0:
            return
