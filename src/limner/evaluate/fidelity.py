"""Prompt fidelity: whether what a prompt asks for besides the subject is still drawn, as pictures themselves tell.

Three things can be checked without another network: the background's colour from the border, whether a small subject
is small from where the picture differs from its background, and, for a style, the object, by which of the base's own
drawings of several objects the picture is nearest to. What the base does with the same prompts is the measure: nothing
can be kept that was not there. (Places, as in "on the left", could be checked as well, but on the pocket base chance
answers them as often.)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from limner.evaluate.metrics import Spread
from limner.vision.colours import edge_of, name_of

ASKED_COLOURS = ("white", "red", "blue", "yellow", "green", "purple")
COLOURS_OF_SMALL = ("white", "green")
# Objects that a style is asked to draw; UNRELATED (protocol.py) has the base draw the same ones, in this order.
OBJECTS = (
    "a car",
    "a cup of coffee",
    "a tree",
    "a guitar",
    "a slice of pizza",
    "an airplane",
    "a clock",
    "a pair of scissors",
)
FOREGROUND = 60  # distance from the background in sRGB, 0 to 441, beyond which a pixel shows something
SMALL_BELOW = 0.62  # of a side; the pocket base was taught small icons of 0.36 to 0.52 of it and others from 0.72
OUTLIERS = 2  # percent at each end; specks beyond the subject do not make it large


@dataclass(frozen=True)
class Question:
    """A prompt with answers that can be checked, {"colour" | "size" | "object": what is right}.

    base_prompt: how to ask the base, which does not know the keyword.
    """

    prompt: str
    base_prompt: str
    answers: Mapping[str, str]


def questions(keyword: str, class_word: str, is_style: bool) -> tuple[Question, ...]:
    """What to ask of a subject, or of a style that is to draw OBJECTS; without a keyword the class alone names it."""
    name = " ".join(f"{keyword} {class_word}".split())
    asked = []
    for number, colour in enumerate(ASKED_COLOURS):
        background = f"on a {colour} background"
        if is_style:
            thing = OBJECTS[number]
            texts = f"{thing}, {name}, {background}", f"{thing}, {background}"
            asked.append(Question(*texts, {"colour": colour, "object": thing}))
        else:
            texts = f"a {name} {background}", f"a {class_word or 'thing'} {background}"
            asked.append(Question(*texts, {"colour": colour}))
    for number, colour in enumerate(COLOURS_OF_SMALL):
        background = f"on a {colour} background"
        if is_style:
            thing = f"a small {OBJECTS[number].split(' ', 1)[1]}"
            texts = f"{thing}, {name}, {background}", f"{thing}, {background}"
        else:
            texts = f"a small {name} {background}", f"a small {class_word or 'thing'} {background}"
        asked.append(Question(*texts, {"colour": colour, "size": "small"}))
    return tuple(asked)


def background_colour(image: Image.Image) -> str:
    """The named colour nearest to the median of the border, in sRGB."""
    return name_of(_border_median(_levels(image)))


def size_of_subject(image: Image.Image) -> str:
    """ "small" or "large": how far what differs from the background reaches; "none" if nothing does."""
    levels = _levels(image)
    places = np.nonzero(np.sqrt(((levels - _border_median(levels)) ** 2).sum(axis=2)) > FOREGROUND)
    if not len(places[0]):
        return "none"
    ends = [np.percentile(each, (OUTLIERS, 100 - OUTLIERS)) for each in places]
    reach = max((high - low) / side for (low, high), side in zip(ends, levels.shape[:2], strict=True))
    return "small" if reach < SMALL_BELOW else "large"


def _levels(image: Image.Image) -> np.ndarray:
    """Float levels (h, w, 3) in 0..255."""
    return np.asarray(image.convert("RGB"), np.float32)


def _border_median(levels: np.ndarray) -> np.ndarray:
    return np.median(edge_of(levels), axis=0)


class Known:
    """Tells objects apart by the base's own drawings of them."""

    def __init__(self, drawings: Mapping[str, Tensor]) -> None:
        """drawings: {object: pooled features (n, channels) of its pictures}."""
        self._names = list(drawings)
        self._centres = {name: normalize(features.mean(0), dim=0) for name, features in drawings.items()}

    def name(self, pooled: Tensor) -> str:
        """The object of a picture with these pooled features (channels,)."""
        return max(self._names, key=lambda name: float(self._centres[name] @ pooled))


@dataclass(frozen=True)
class Fidelity:
    """Shares of right answers, of the file and of the base, and by what they were asked.

    kept: the file's share over the base's; None where the base answers nothing rightly, so that nothing can be said.
    over_seeds: its spread. by_answer: {"colour" | "size" | "object": [file's share, base's share]}.
    """

    share: float
    base_share: float
    kept: float | None
    over_seeds: Spread | None
    by_answer: dict[str, list[float]]


def fidelity(
    asked: Sequence[Question],
    after: Sequence[Sequence[Image.Image]],
    base: Sequence[Sequence[Image.Image]],
    known: Known | None,
    pooled: tuple[Sequence[Tensor], Sequence[Tensor]],
) -> Fidelity:
    """The fidelity of pictures: a list for each question, a picture a seed in each.

    pooled: features of the file's and of the base's pictures, a tensor (seeds, channels) for each question, by which
    `known` names objects.
    """
    states = [
        [
            [_right(question, image, known, features) for image, features in zip(images, rows, strict=True)]
            for question, images, rows in zip(asked, drawn, tensors, strict=True)
        ]
        for drawn, tensors in zip((after, base), pooled, strict=True)
    ]
    kinds = sorted({kind for question in asked for kind in question.answers})
    by_answer = {kind: [_share(state, kind) for state in states] for kind in kinds}
    share, base_share = (_share(state) for state in states)
    seeds = range(len(after[0]))
    by_seed = [_share([[answers[seed]] for answers in states[0]]) for seed in seeds]
    can_tell = base_share > 0
    return Fidelity(
        share=share,
        base_share=base_share,
        kept=share / base_share if can_tell else None,
        over_seeds=Spread.of([one / base_share for one in by_seed]) if can_tell else None,
        by_answer=by_answer,
    )


Answers = dict[str, bool]


def _right(question: Question, image: Image.Image, known: Known | None, pooled: Tensor) -> Answers:
    """Which of a question's answers a picture gives rightly."""
    found = {"colour": background_colour, "size": size_of_subject}
    rights = {}
    for kind, right in question.answers.items():
        if kind == "object":
            assert known is not None
            rights[kind] = known.name(pooled) == right
        else:
            rights[kind] = found[kind](image) == right
    return rights


def _share(state: Sequence[Sequence[Answers]], kind: str | None = None) -> float:
    rights = [
        right
        for pictures in state
        for answers in pictures
        for asked, right in answers.items()
        if kind is None or asked == kind
    ]
    return sum(rights) / len(rights)
