"""How varied the pictures of a set are: framing, light, backgrounds, shapes, and scenes by features."""

from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from limner.checking.candidates import unit
from limner.checking.facts import Facts
from limner.checking.findings import Subject

# Of a picture's height that a face takes: a portrait in head and shoulders has about a third, one to the waist a sixth.
FACE_CLOSE, FACE_HALF = 0.3, 0.12
# Of a picture's area that what stands out takes.
CLOSE, HALF = 0.6, 0.2
DIM, LIT = 0.35, 0.65  # brightness below which a picture is dark, above which it is bright
SQUARE = 1.1  # times the shorter side
SAME_SCENE = 0.88  # cosine of features: frames of one shot have 0.9 to 0.98, one subject in two places below 0.85
MOST_COMPARED = 2000  # pictures that are compared with each other; of more so many, evenly


@dataclass(frozen=True)
class Variety:
    """What there is in a set. count: pictures that are worth training on. framings, lights, backgrounds, shapes: how
    many there are of each; what could not be told is left out.

    likeness: mean cosine of two pictures' features. scenes: places of pictures that show nearly the same scene, the
    largest first; compared: how many pictures these two come from. smallest: the shorter side of the smallest picture.
    """

    count: int = 0
    framings: Counter[str] = field(default_factory=Counter)
    lights: Counter[str] = field(default_factory=Counter)
    backgrounds: Counter[str] = field(default_factory=Counter)
    shapes: Counter[str] = field(default_factory=Counter)
    likeness: float = 0.0
    scenes: tuple[tuple[int, ...], ...] = ()
    compared: int = 0

    def to_dict(self) -> dict[str, Any]:
        counts = {name: dict(getattr(self, name)) for name in ("framings", "lights", "backgrounds", "shapes")}
        return {"count": self.count, "likeness": round(self.likeness, 3), "scenes": len(self.scenes)} | counts


def variety_of(
    kept: Iterable[tuple[int, int, Facts]], features: NDArray[np.int8], subject: Subject, every: int
) -> Variety:
    """Of the pictures that are kept: the place of each, its row in the features, its facts.

    every: of each so many pictures one is compared with the others by features.
    """
    found = Variety()
    places, rows = array("q"), array("q")
    count = 0
    for at, row, facts in kept:
        if count % every == 0:
            places.append(at)
            rows.append(row)
        count += 1
        found.framings.update([framing] if (framing := framing_of(facts, subject)) else [])
        found.lights[light_of(facts)] += 1
        found.shapes[shape_of(facts)] += 1
        found.backgrounds[facts.colour or "mixed"] += 1
    likeness, scenes = _scenes(unit(features[np.array(rows, np.int64)])) if count else (0.0, [])
    named = tuple(tuple(places[number] for number in scene) for scene in scenes)
    return Variety(count, found.framings, found.lights, found.backgrounds, found.shapes, likeness, named, len(places))


def framing_of(facts: Facts, subject: Subject) -> str:
    """Framing by a person's largest face, else by what stands out: close-up, half or wide; "" if it is not known."""
    if subject == "person":
        if not facts.faces:
            return ""
        high = max(face.bottom - face.top for face in facts.faces)
        return "close-up" if high >= FACE_CLOSE else "half" if high >= FACE_HALF else "wide"
    if facts.salient is None:
        return ""
    return "close-up" if facts.salient.area >= CLOSE else "half" if facts.salient.area >= HALF else "wide"


def light_of(facts: Facts) -> str:
    return "dark" if facts.brightness < DIM else "bright" if facts.brightness > LIT else "medium"


def shape_of(facts: Facts) -> str:
    if max(facts.width, facts.height) <= SQUARE * min(facts.width, facts.height):
        return "square"
    return "portrait" if facts.height > facts.width else "landscape"


def _scenes(features: NDArray[np.float32]) -> tuple[float, list[list[int]]]:
    """The mean cosine of two pictures, and groups of pictures of nearly the same scene, the largest first.

    The picture with most neighbours that are in no group yet begins the next; groups of one are left out.
    """
    count = len(features)
    if count < 2:
        return 0.0, []
    cosines = features @ features.T
    likeness = (float(cosines.sum()) - float(np.trace(cosines))) / (count * (count - 1))
    near = cosines >= SAME_SCENE
    np.fill_diagonal(near, True)
    left = np.ones(count, bool)
    groups = []
    while True:
        sizes = np.where(left, (near & left).sum(1), 0)
        first = int(sizes.argmax())
        if sizes[first] < 2:
            break
        members = np.flatnonzero(near[first] & left)
        groups.append([int(member) for member in members])
        left[members] = False
    return likeness, groups
