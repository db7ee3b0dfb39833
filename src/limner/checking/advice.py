"""What a set of pictures lacks for what it is to teach, in sentences that a person can act on."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from limner.checking.findings import Subject, Wanted
from limner.checking.remark import Remark
from limner.checking.variety import Variety
from limner.config import METHOD_NAMES
from limner.texts import display

MOST_NAMED = 8  # pictures that a remark names
ENOUGH_TO_JUDGE = 5  # pictures; what fewer have in common says nothing
MOST = 0.7  # share of a set that one kind of picture may have
SCENE = 0.25  # share of a set that one scene may have, and at least three pictures
ALIKE = 0.72  # mean cosine of features, above which a set shows hardly more than one picture


@dataclass(frozen=True)
class Wish:
    """How many pictures a method wants. least: what its authors showed it with. source: who says so."""

    least: int
    good: int
    most: int
    source: str


PRACTICE = "20 to 30 in practice, variety before number"
WISHES = {
    "embedding": Wish(3, 5, 30, "Gal et al. 2022: 3 to 5; more of them no longer help a single word"),
    "full": Wish(3, 20, 100, f"Ruiz et al. 2022: 3 to 5; {PRACTICE}"),
    "lora": Wish(5, 20, 100, PRACTICE),
    "style": Wish(10, 30, 500, "a style shows only in many different things that are drawn in it"),
}
NOUNS: dict[Subject, str] = {"object": "object", "person": "person", "animal": "animal", "style": "style"}
FRAMINGS: dict[Subject, dict[str, str]] = {
    "person": {"close-up": "of the face alone", "half": "down to the waist", "wide": "of the whole figure"},
    "object": {"close-up": "from close up", "half": "from a few steps away", "wide": "from further away"},
}


def wish_of(wanted: Wanted) -> Wish:
    """What the chosen method and subject want."""
    parts = METHOD_NAMES.get(wanted.method, wanted.method).split("+")
    method = "embedding" if parts == ["embedding"] else "full" if "full" in parts else "lora"
    return WISHES["style" if wanted.subject == "style" and method != "embedding" else method]


def remarks_on(variety: Variety, wanted: Wanted, name_of: Callable[[int], str]) -> Iterator[Remark]:
    """What there is to say of the pictures that are worth training on. name_of: a picture's, by its place."""
    yield from _number(variety, wanted)
    yield from _scenes(variety, wanted, name_of)
    if variety.count < ENOUGH_TO_JUDGE:
        return
    if variety.likeness > ALIKE and not variety.scenes:
        sentence = "All pictures look much alike: take some in other places, in other light, from other sides."
        yield Remark("alike", "note", sentence)
    if wanted.subject != "style":
        yield from _framing(variety, wanted)
        yield from _background(variety, wanted)
    yield from _light(variety)


def _number(variety: Variety, wanted: Wanted) -> Iterator[Remark]:
    wish, count = wish_of(wanted), variety.count
    there = f"{count} usable picture" + ("s" if count != 1 else "")
    what = f"a style by {wanted.method}" if wanted.subject == "style" else wanted.method
    if count == 0:
        yield Remark("few", "fault", "There is no picture without a fault: add better ones, or overrule the findings.")
    elif count < wish.least:
        missing = wish.least - count
        sentence = f"There {'is' if count == 1 else 'are'} only {there}: for {what} add at least {missing} more"
        yield Remark("few", "fault", f"{sentence} ({wish.source}).")
    elif count < wish.good:
        yield Remark("few", "note", f"There are {there}: {what} does better with {wish.good} or more ({wish.source}).")
    elif count > wish.most:
        sentence = f"There are {there}, more than {what} needs: {wish.good} to {wish.most} of the best teach as much"
        yield Remark("many", "note", f"{sentence} ({wish.source}).")


def _scenes(variety: Variety, wanted: Wanted, name_of: Callable[[int], str]) -> Iterator[Remark]:
    for scene in variety.scenes[:3]:
        if len(scene) < max(3, SCENE * variety.compared):
            continue
        names = tuple(name_of(at) for at in scene)
        share = "All" if len(scene) == variety.compared else f"{len(scene)} of {variety.compared}"
        listed = ", ".join(map(display, names[:3])) + (", ..." if len(names) > 3 else "")
        what = "things" if wanted.subject == "style" else "places and poses"
        sentence = f"{share} pictures show nearly the same scene ({listed}): keep two or three, and add other {what}."
        yield Remark("same_scene", "note", sentence, names[:MOST_NAMED])


def _framing(variety: Variety, wanted: Wanted) -> Iterator[Remark]:
    """Whether some are taken from near and some from afar."""
    framings = variety.framings
    known = sum(framings.values())
    if known < max(ENOUGH_TO_JUDGE, variety.count / 2):
        return
    ways = FRAMINGS.get(wanted.subject, FRAMINGS["object"])
    plural = {"close-up": "close-ups", "half": "taken from the same middle distance", "wide": "taken from far away"}
    name, most = framings.most_common(1)[0]
    missing = [way for way in ways if not framings[way]]
    if most > MOST * known:
        others = [ways[way] for way in (missing or [way for way in ways if way != name])]
        sentence = f"{_share(most, known, variety)} {plural[name]}: add three {' and three '.join(others)}."
        yield Remark("framing", "note", sentence)
    elif missing and wanted.subject == "person":
        sentence = f"No picture is {' or '.join(ways[way] for way in missing)}: add three."
        yield Remark("framing", "note", sentence)


def _background(variety: Variety, wanted: Wanted) -> Iterator[Remark]:
    plain = Counter({name: count for name, count in variety.backgrounds.items() if name != "mixed"})
    if not plain:
        return
    name, most = plain.most_common(1)[0]
    if most > MOST * variety.count:
        sentence = f"{_share(most, variety.count, variety)} on a {name} background, which would be learned with the"
        sentence += f" {NOUNS[wanted.subject]}: add some on others, say it in the captions, or use masks."
        yield Remark("background", "note", sentence)


def _light(variety: Variety) -> Iterator[Remark]:
    name, most = variety.lights.most_common(1)[0]
    if name != "medium" and most > MOST * variety.count:
        other = "brighter" if name == "dark" else "darker"
        yield Remark("light", "note", f"{_share(most, variety.count, variety)} {name}: add some in {other} light.")


def _share(some: int, known: int, variety: Variety) -> str:
    if some == variety.count:
        return f"All {some} are"
    return f"{some} of {known} {'pictures whose framing is known ' if known < variety.count else ''}are"
