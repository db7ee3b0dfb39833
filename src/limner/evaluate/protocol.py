"""What is drawn to judge a file, and which real pictures judge it."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from limner.config import Judging
from limner.data.caption import caption_for
from limner.data.folder import Picture
from limner.errors import UserError
from limner.evaluate.fidelity import Question, questions
from limner.generate import Request

MOST_PROMPTS = 8  # of those that are taken from captions
# Nothing that a file of one subject should change; words that the pocket base knows too, fidelity.OBJECTS in its order.
UNRELATED = (
    "a red car",
    "a cup of coffee",
    "a tree on a green background",
    "a guitar",
    "a slice of pizza",
    "an airplane on a blue background",
    "a clock",
    "a pair of scissors",
)

SubjectKind = Literal["object", "style"]


@dataclass(frozen=True)
class Evidence:
    """Real pictures of the subject.

    judges: those that drawings are compared with. seen: those that were trained on, or might have been, among which
    copies are looked for. held_out: whether the judges are known to have taken no part in the training.
    """

    judges: list[Picture]
    seen: list[Picture]
    held_out: bool

    @staticmethod
    def of(pictures: Sequence[Picture], trained: Collection[str] = ()) -> "Evidence":
        """`trained`: SHA-256 of the pictures of the training, as a run card has them. The others judge, or all of them
        if fewer than two are left. Raises UserError for fewer than two."""
        if len(pictures) < 2:
            raise UserError("judging needs at least two images to compare with; add more with --images")
        unseen = [picture for picture in pictures if picture.sha256 not in trained]
        seen = [picture for picture in pictures if picture.sha256 in trained]
        held_out = len(unseen) >= 2 and bool(trained)
        return Evidence(unseen if held_out else list(pictures), seen or list(pictures), held_out)

    def evenly(self, most: int) -> list[Picture]:
        """At most so many of the judges, evenly chosen."""
        return self.judges[:: -(-len(self.judges) // most)]


@dataclass(frozen=True)
class Protocol:
    """What is drawn for an evaluation.

    prompts: with the keyword. class_prompts: the same without it, which should stay what they were.
    questions: prompts with answers that can be checked.
    is_paired: whether prompt i asks for what real picture i shows, so that a style is compared object by object.
    rivals: other ways to ask the base for the same, each as long as `prompts`; the floor is the nearest of them.
    request: everything else about the pictures; `count` pictures a prompt, of consecutive seeds from `seed`.
    strength: the multiplier of the file.
    """

    prompts: tuple[str, ...]
    class_prompts: tuple[str, ...] = ()
    unrelated: tuple[str, ...] = UNRELATED
    questions: tuple[Question, ...] = ()
    subject: SubjectKind = "object"
    is_paired: bool = False
    rivals: tuple[tuple[str, ...], ...] = ()
    strength: float = 1.0
    request: Request = field(default_factory=lambda: Request(prompt="", seed=1, count=3))


def make_protocol(
    evidence: Evidence,
    keyword: str,
    class_word: str,
    request: Request,
    prompts: Sequence[str] = (),
    subject: SubjectKind | None = None,
    rivals: Sequence[str] = (),
    strength: float = 1.0,
) -> tuple[Protocol, Evidence]:
    """The protocol for a subject, its prompts from the judging pictures' captions unless some are given; and the
    evidence, cut to the pictures that go with the prompts where they are compared object by object.

    subject: None tells a style by its class. rivals: what the base can be told instead of keyword and class.
    """
    subject = subject or subject_kind(class_word)
    chosen = evidence.evenly(MOST_PROMPTS)
    captions = [caption_for(picture, keyword, class_word) or "a picture" for picture in chosen]
    is_paired = not prompts and subject == "style" and _name_objects(captions, keyword, class_word)
    if is_paired:
        evidence = Evidence(chosen, evidence.seen, evidence.held_out)
    prompts = tuple(prompts) or tuple(captions if is_paired else _enough(list(dict.fromkeys(captions))))
    without = [without_keyword(prompt, keyword) for prompt in prompts] if keyword else []
    return (
        Protocol(
            prompts=prompts,
            class_prompts=tuple(dict.fromkeys(text for text in without if text)),
            questions=questions(keyword, class_word, subject == "style"),
            subject=subject,
            is_paired=is_paired,
            rivals=tuple(tuple(_replaced(p, keyword, class_word, rival) for p in prompts) for rival in rivals),
            strength=strength,
            request=request,
        ),
        evidence,
    )


def _enough(captions: list[str]) -> list[str]:
    """Pictures without captions have one prompt, which is too few to judge by: the same on other backgrounds."""
    more = [f"{captions[0]} on a {colour} background" for colour in ("white", "blue", "green")]
    return captions if len(captions) > len(more) else list(dict.fromkeys([*captions, *more]))


def request_of(settings: Judging, seed: int) -> Request:
    """What settings say of the drawings."""
    return Request("", steps=settings.drawing_steps, cfg_scale=settings.cfg_scale, seed=seed, count=settings.count)


def subject_kind(class_word: str) -> SubjectKind:
    """A class such as "style" or "watercolor style" is a way of drawing; every other is something to draw."""
    return "style" if class_word.lower().split()[-1:] == ["style"] else "object"


def without_keyword(prompt: str, keyword: str) -> str:
    """The prompt as it would be without the new word: what it gives should not have changed."""
    return _with_articles(_tidy(_word(keyword).sub("", prompt)))


def _replaced(prompt: str, keyword: str, class_word: str, rival: str) -> str:
    name = re.escape(" ".join(f"{keyword} {class_word}".split()))
    return _with_articles(re.sub(rf"(?<!\w){name}(?!\w)", lambda _: rival, prompt, flags=re.IGNORECASE))


def _name_objects(captions: Iterable[str], keyword: str, class_word: str) -> bool:
    """Whether captions say different things beside the keyword and the class."""
    rest = {_tidy(_word(class_word).sub("", without_keyword(caption, keyword))) for caption in captions}
    return len(rest) > 1 and "" not in rest


def _word(text: str) -> re.Pattern[str]:
    """A word or words standing alone; of an empty text, what is nowhere."""
    return re.compile(rf"(?<!\w){re.escape(text)}(?!\w)" if text else r"(?!)", re.IGNORECASE)


def _with_articles(text: str) -> str:
    """ "a airplane", where a word between was taken out, as "an airplane"; and the other way round."""
    return re.sub(r"\ban?(?= ([a-z]))", lambda found: "an" if found[1] in "aeiou" else "a", text)


def _tidy(text: str) -> str:
    text = re.sub(r"\s+", " ", text)
    return re.sub(r"\s*,(\s*,)+", ",", text).strip(" ,")
