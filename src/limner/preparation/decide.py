"""Whether each picture is kept, and its crop: from its facts, what is said of it, and what a person decided."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from limner.checking.findings import Finding
from limner.checking.verdict import Judged, Verdict
from limner.data.buckets import FACTOR
from limner.preparation.choices import NOTHING, Choice
from limner.preparation.framing import Framing, frame
from limner.preparation.ledger import plain
from limner.texts import display

TWIN = "duplicate"
BY_HAND = "by hand"
ENLARGED = "too_small"  # under which kind a picture falls that its crop would enlarge too much


@dataclass(frozen=True)
class Rules:
    """What counts for every picture. keep and drop: kinds of findings that are no reason to leave a picture out, or
    one. sizes: the buckets. most_enlargement: new pixels for each old one, along a side."""

    keep: frozenset[str]
    drop: frozenset[str]
    sizes: Sequence[tuple[int, int]]
    most_enlargement: float


@dataclass(frozen=True)
class Decision:
    """What becomes of a source. why: completes "it is kept: ..." or "it is left out: it ...". because: the kind of
    finding for which it is left out, or BY_HAND, "" for one that is kept.

    by_hand: what a person decided of it. findings: their kinds. framing: None for one that is left out. width and
    height: of the upright source in pixels, 0 if it cannot be opened.
    """

    source: str
    kept: bool
    why: str
    by_hand: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    framing: Framing | None = None
    width: int = 0
    height: int = 0
    because: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The reverse of to_dict, also after a way through JSON."""
        framing = values["framing"]
        view = Framing(**{**framing, "box": tuple(framing["box"])}) if framing else None
        lists = {name: tuple(values[name]) for name in ("by_hand", "findings")}
        return cls(**{**values, **lists, "framing": view})


def decide(judged: Judged, choice: Choice, rules: Rules, better: str | None = None) -> Decision:
    """What becomes of one picture. better: the name of the one that is kept of those that show the same as it.

    Raises UserError for a crop by hand that is not inside the picture.
    """
    facts = judged.facts
    kinds = tuple(finding.kind for finding in judged.findings)
    size = facts.width, facts.height

    def left_out(because: str, why: str) -> Decision:
        return Decision(facts.name, False, why, choice.said, kinds, None, *size, because)

    if facts.problem:
        return left_out(kinds[0], facts.problem)
    if choice.keep is False:
        return left_out(BY_HAND, "is left out by hand")
    if choice.keep is None:
        against = objections(judged.findings, rules)
        if against:
            return left_out(against[0].kind, against[0].sentence)
        if better is not None and TWIN not in rules.keep:
            return left_out(TWIN, _same_as(better, judged.findings))
    framing = frame(facts, rules.sizes, choice.region(facts), rules.most_enlargement)
    if framing.enlargement > rules.most_enlargement:
        if choice.keep is None and ENLARGED not in rules.keep:
            return left_out(
                ENLARGED,
                f"would have to be enlarged {framing.enlargement:.3g} times to {framing.width}x{framing.height} "
                f"pixels, and {rules.most_enlargement:g} is the most",
            )
        framing = _smaller(framing, rules.most_enlargement)
    said = [finding.sentence for finding in judged.findings if _speaks(finding, rules)]
    though = f", though it {said[0]}" if said else ""
    why = "by hand" if choice.keep else "as --keep says" if said else "nothing speaks against it"
    return Decision(facts.name, True, why + though, choice.said, kinds, framing, *size)


def objections(found: Sequence[Finding], rules: Rules) -> list[Finding]:
    """What speaks against a picture by itself and counts, the gravest first."""
    return [
        finding
        for finding in found
        if _speaks(finding, rules) and finding.kind not in rules.keep and finding.kind != TWIN
    ]


def _speaks(finding: Finding, rules: Rules) -> bool:
    return finding.level in ("unusable", "fault") or finding.kind in rules.drop


def _same_as(better: str, found: Sequence[Finding]) -> str:
    how = next((finding.sentence for finding in found if finding.kind == TWIN and better in finding.others), None)
    return how or f"shows the same as {display(better)}, which is kept"


def _smaller(framing: Framing, most: float) -> Framing:
    """The same view with fewer pixels, so that it is not enlarged more than it may be; sides as latents need them."""
    scale = most / framing.enlargement
    width, height = (max(FACTOR, int(side * scale) // FACTOR * FACTOR) for side in (framing.width, framing.height))
    left, top, right, bottom = framing.box
    factor = min((right - left) / width, (bottom - top) / height)  # old pixels for each new one
    across, down = right - left - width * factor, bottom - top - height * factor
    box = (left + across / 2, top + down / 2, right - across / 2, bottom - down / 2)
    kept = (width * factor) * (height * factor) / ((right - left) * (bottom - top))
    return replace(
        framing,
        box=box,
        width=width,
        height=height,
        lost=1 - (1 - framing.lost) * kept,
        enlargement=1 / factor,
        why=f"{framing.why}, smaller than a bucket so as not to be enlarged more",
    )


def better_twins(verdict: Verdict, choices: Mapping[str, Choice], rules: Rules) -> dict[int, str]:
    """The places of the pictures that show the same as one that is kept, with its name.

    Of such pictures those are kept that a person keeps; else the best against which nothing else speaks, which is not
    always the one that was thought best: that may have been left out by hand.
    """
    found: dict[int, str] = {}
    for group in verdict.groups:
        members = [group.best, *(twin.at for twin in group.twins)]
        said = {at: choices.get(plain(verdict.facts(at).name), NOTHING).keep for at in members}
        by_hand = [at for at in members if said[at]]
        possible = [at for at in members if said[at] is None and not objections(verdict[at].findings, rules)]
        kept = by_hand or possible[:1]
        found |= {at: verdict.facts(kept[0]).name for at in members if kept and at not in kept}
    return found
