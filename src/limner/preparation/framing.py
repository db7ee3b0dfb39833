"""Which part of a picture is kept, and at what size: decided from its facts alone, so the same wherever it is asked."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from limner.checking.facts import Facts
from limner.data.buckets import MOST_ENLARGEMENT, near
from limner.vision.region import Region

# Of the height of a view from above: where eyes are to be, for a face that is small in it and for one that fills it.
EYES, EYES_CLOSE = 1 / 3, 0.45
EYES_IN_FACE = 0.4  # of its height
# What belongs to a head around the face that a detector marks, in its widths and heights: hair above, chin, ears.
ABOVE, BELOW, BESIDE = 0.5, 0.2, 0.2
# Of the shorter side: a border is measured on some 720 pixels of it, and compression smears its edge.
UNSURE = 1 / 720
THINNEST = 16  # pixels that a picture without its border has at least; else it is not taken for a border

Span = tuple[float, float]
Box = tuple[float, float, float, float]


@dataclass(frozen=True)
class Framing:
    """The view of an upright picture that is kept, `box` (left, top, right, bottom) in its pixels, and its new size.

    lost: share of the picture's area that is cut away; subject_lost: of the subject's (heads, or what stands out), 0
    where none is known. enlargement: new pixels for each old one, along a side. why: where the view lies.
    """

    box: Box
    width: int
    height: int
    lost: float
    subject_lost: float
    enlargement: float
    why: str

    @property
    def is_whole(self) -> bool:
        """Whether the pixels stay as they are where nothing is cut away: neither enlarged nor made smaller."""
        return self.box[2] - self.box[0] == self.width and self.box[3] - self.box[1] == self.height


@dataclass(frozen=True)
class Subject:
    """What the view is chosen for: boxes in pixels, of which none should be cut, the largest least; called `name`.

    cores: of each box what counts where the box is larger than the view: the face of a head. points: where each is
    looked at. are_eyes: whether that is into the eyes, which go above the middle.
    """

    boxes: tuple[Box, ...]
    cores: tuple[Box, ...]
    points: tuple[tuple[float, float], ...]
    name: str
    are_eyes: bool = False


def frame(
    facts: Facts,
    sizes: Sequence[tuple[int, int]],
    by_hand: Region | None = None,
    most_enlargement: float = MOST_ENLARGEMENT,
) -> Framing:
    """The largest view of a picture in the shape of one of the buckets `sizes`, placed for its subject.

    Borders are cut away first; then, of the buckets nearest to what is left in shape, the one counts that loses least
    of the subject, then least of the picture. `by_hand` replaces both: the view lies inside it. A picture that is too
    small for every bucket is framed all the same: its enlargement is then more than `most_enlargement`.
    """
    inside = _pixels(by_hand, facts) if by_hand else _inside_border(facts)
    subject = _subject(facts, inside)
    width, height = inside[2] - inside[0], inside[3] - inside[1]
    framings = [_frame(facts, inside, subject, size, by_hand is not None) for size in near(width, height, sizes)]

    def loss(framing: Framing) -> tuple[bool, float, float, int, int]:
        too_small = framing.enlargement > most_enlargement
        return too_small, round(framing.subject_lost, 2), round(framing.lost, 6), -framing.width, framing.height

    return min(framings, key=loss)


def _frame(facts: Facts, inside: Box, subject: Subject, size: tuple[int, int], by_hand: bool) -> Framing:
    """The largest view of this shape inside a box, placed for the subject."""
    scale = min((inside[2] - inside[0]) / size[0], (inside[3] - inside[1]) / size[1])  # old pixels for each new one
    # Rounding must not leave the picture.
    width, height = min(size[0] * scale, inside[2] - inside[0]), min(size[1] * scale, inside[3] - inside[1])
    boxes = [
        core if box[2] - box[0] > width or box[3] - box[1] > height else box
        for box, core in zip(subject.boxes, subject.cores, strict=True)
    ]
    weights = [_area(box) for box in boxes]
    xs, ys = [x for x, _ in subject.points], [y for _, y in subject.points]
    tall = min(1, max((box[3] - box[1] for box in subject.cores), default=0.0) / height)
    share = EYES + (EYES_CLOSE - EYES) * tall if subject.are_eyes else 0.5
    left = _place(width, (inside[0], inside[2]), [(box[0], box[2]) for box in boxes], weights, xs, 0.5)
    top = _place(height, (inside[1], inside[3]), [(box[1], box[3]) for box in boxes], weights, ys, share)
    box = (left, top, min(left + width, inside[2]), min(top + height, inside[3]))
    kept = sum(_overlap(box, each) for each in boxes)
    whole = sum(weights)
    return Framing(
        box,
        *size,
        lost=max(0.0, 1 - _area(box) / (facts.width * facts.height)),
        subject_lost=max(0.0, 1 - kept / whole) if whole else 0.0,
        enlargement=size[0] / (box[2] - box[0]),
        why=_why(facts, inside, box, subject, by_hand),
    )


def _place(
    length: float,
    within: Span,
    spans: Sequence[Span],
    weights: Sequence[float],
    points: Sequence[float],
    share: float,
) -> float:
    """Where on one axis a view of that length begins, inside `within`, at a whole pixel.

    At best the middle of the points lies at `share` of the view. Before that comes that as little as possible is lost
    of the heaviest span, then that none is cut in two, then that little is lost of all.
    """
    first, last = within[0], max(within[0], within[1] - length)
    if not spans:
        return float(math.floor(first + (last - first) / 2))
    ideal = (min(points) + max(points)) / 2 - length * share
    heaviest = max(range(len(spans)), key=lambda index: weights[index])

    def badness(start: float) -> tuple[float, int, float, float, float]:
        out = [_outside((start, start + length), span) for span in spans]
        cut = sum(0.01 < share_out < 0.99 for share_out in out)
        lost = sum(weight * share_out for weight, share_out in zip(weights, out, strict=True))
        return round(out[heaviest], 3), cut, round(lost / sum(weights), 3), abs(start - ideal), start

    begins = [ideal, first, last, *(low for low, _ in spans), *(high for _, high in spans)]
    begins += [end - length for _, end in spans] + [low - length for low, _ in spans]
    possible = {float(math.floor(min(max(begin, first), last))) for begin in begins}
    possible |= {min(begin + 1, float(math.floor(last))) for begin in possible}  # rounding down may cut an edge
    return min(possible, key=badness)


def _outside(view: Span, span: Span) -> float:
    """The share of a span that a view does not show."""
    seen = min(view[1], span[1]) - max(view[0], span[0])
    return 1 - max(0.0, seen) / (span[1] - span[0])


def _subject(facts: Facts, inside: Box) -> Subject:
    """Heads, else what stands out, else nothing; only what lies inside, for the most part."""
    faces = [face for face in facts.faces if _mostly(_pixels(face, facts), inside)]
    if faces:
        heads = tuple(_intersection(_pixels(_head(face), facts), inside) for face in faces)
        cores = [_pixels(face, facts) for face in faces]
        eyes = tuple(((box[0] + box[2]) / 2, box[1] + EYES_IN_FACE * (box[3] - box[1])) for box in cores)
        name = "the face" if len(faces) == 1 else f"{len(faces)} faces"
        return Subject(heads, tuple(_intersection(core, inside) for core in cores), eyes, name, are_eyes=True)
    if facts.salient and _mostly(_pixels(facts.salient, facts), inside):
        box = _intersection(_pixels(facts.salient, facts), inside)
        centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
        return Subject((box,), (box,), (centre,), "what stands out")
    return Subject((), (), (), "the middle")


def _head(face: Region) -> Region:
    width, height = face.right - face.left, face.bottom - face.top
    return Region(
        max(0.0, face.left - BESIDE * width),
        max(0.0, face.top - ABOVE * height),
        min(1.0, face.right + BESIDE * width),
        min(1.0, face.bottom + BELOW * height),
    )


def _mostly(box: Box, inside: Box) -> bool:
    """Whether at least half of a box lies inside another."""
    return _overlap(box, inside) >= 0.5 * _area(box)


def _inside_border(facts: Facts) -> Box:
    """The picture without its border, in whole pixels; all of it if hardly anything would be left."""
    unsure = UNSURE * min(facts.width, facts.height)
    sides = (facts.width, facts.height) * 2
    cut = [math.ceil(share * side + unsure) if share else 0 for share, side in zip(facts.border, sides, strict=True)]
    box = (float(cut[0]), float(cut[1]), float(facts.width - cut[2]), float(facts.height - cut[3]))
    if min(box[2] - box[0], box[3] - box[1]) < THINNEST:
        return 0.0, 0.0, float(facts.width), float(facts.height)
    return box


def _pixels(region: Region, facts: Facts) -> Box:
    """A region in whole pixels, at least one, inside the picture."""
    left = min(max(0, round(region.left * facts.width)), facts.width - 1)
    top = min(max(0, round(region.top * facts.height)), facts.height - 1)
    right = min(max(left + 1, round(region.right * facts.width)), facts.width)
    bottom = min(max(top + 1, round(region.bottom * facts.height)), facts.height)
    return float(left), float(top), float(right), float(bottom)


def _why(facts: Facts, inside: Box, box: Box, subject: Subject, by_hand: bool) -> str:
    if by_hand:
        return "by hand"
    border = "" if inside == (0, 0, facts.width, facts.height) else ", inside the border"
    if _area(box) > 0.999999 * _area(inside):
        return "all inside the border" if border else "the whole picture"
    return (f"around {subject.name}" if subject.boxes else subject.name) + border


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _intersection(one: Box, other: Box) -> Box:
    return max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])


def _overlap(one: Box, other: Box) -> float:
    return _area(_intersection(one, other))
