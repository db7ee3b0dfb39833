"""A keyword before it is learned: its tokens, how strongly a base reacts to it, and better ones."""

import re
from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from PIL import Image

from limner.base.model import BaseModel
from limner.data.keyword import TRAPS, poor, proposals, rare_tokens, words_of
from limner.errors import UserError
from limner.evaluate.features import Evaluator
from limner.evaluate.judge import Progress
from limner.evaluate.metrics import Figure, drift
from limner.evaluate.pictures import draw, encode
from limner.evaluate.reaction import Form, Reaction, Reactions, known_words, never_seen
from limner.generate import Request
from limner.sheet import Row, draw_sheet

HARDLY, PLAINLY = 0.42, 0.65  # of what known words mean; the first is where never seen words end (docs/keyword.md)
PROBED = 2  # pictures whose noise is looked at
REFERENCES = 2  # words never seen, and known ones, that pictures are drawn with
CANDIDATES = 8  # strings, and single tokens, that are measured for proposals
LIKE = 3  # words that a keyword with a meaning is said to be like

Verdict = Literal["good", "fair", "poor", "unknown"]


@dataclass(frozen=True)
class Token:
    """One of the vocabulary: ids rise with rarity, from 512 on."""

    id: int
    text: str


@dataclass(frozen=True)
class Proposal:
    """Another keyword, and the stronger of its reactions."""

    word: str
    tokens: tuple[Token, ...]
    reaction: Reaction


@dataclass(frozen=True)
class Advice:
    """What is to be known of a keyword and a base.

    tokens: by text encoder. vocabulary: how many tokens there are. problem: what the vocabulary and the grammar of
    prompts say against it. reaction: the stronger of those with the class and alone. moved: how far the pictures with
    the keyword are from those without it, as 1 - cosine of the evaluator's features; floor and ceiling as in Reaction.
    like: what it seems to mean. proposals: the emptiest first. pictures: by prompt, in the order of the seeds; those
    without the keyword first, then those with it.
    """

    keyword: str
    class_word: str
    base: str
    tokens: Mapping[str, tuple[Token, ...]]
    vocabulary: int
    problem: str | None
    trap: tuple[str, str] | None
    reaction: Reaction
    moved: Figure
    like: tuple[str, ...]
    proposals: tuple[Proposal, ...]
    pictures: Mapping[str, list[Image.Image]]

    @property
    def verdict(self) -> Verdict:
        meaning = self.reaction.meaning
        if meaning is None:
            return "unknown"
        if meaning > PLAINLY or self.trap:
            return "poor"
        return "fair" if meaning > HARDLY or self.problem else "good"

    @property
    def sentence(self) -> str:
        """The verdict in words, with the figure that it rests on."""
        meaning = self.reaction.meaning
        if meaning is None:
            return (
                f"{self.base} tells known words no better from never seen ones; nothing can be said of {self.keyword!r}"
            )
        share = f"{max(meaning, 0):.2f} of what known words mean to it"
        if meaning > PLAINLY:
            said = f"{self.keyword!r} means something to {self.base}{self._likeness}"
            return f"{said} ({share}): poor, training would fight that"
        if meaning > HARDLY:
            return f"{self.keyword!r} means a little to {self.base}{self._likeness} ({share}): fair"
        return f"{self.base} hardly reacts to {self.keyword!r} ({share}): {self.verdict}"

    @property
    def _likeness(self) -> str:
        return f", much like {_listed(self.like)}" if self.like else ""

    def to_dict(self) -> dict[str, Any]:
        return {
            "keyword": self.keyword,
            "class": self.class_word,
            "base": self.base,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "tokens": {name: [asdict(token) for token in tokens] for name, tokens in self.tokens.items()},
            "vocabulary": self.vocabulary,
            "problem": self.problem,
            "trap": None if self.trap is None else {"draws": self.trap[0], "source": self.trap[1]},
            "reaction": reaction_values(self.reaction),
            "pictures_moved": asdict(self.moved) | {"normalised": self.moved.normalised},
            "like": list(self.like),
            "proposals": [
                {"keyword": each.word, "tokens": [asdict(token) for token in each.tokens]}
                | reaction_values(each.reaction)
                for each in self.proposals
            ],
        }


def reaction_values(reaction: Reaction) -> dict[str, Any]:
    figures = {"noise": reaction.noise, "text": reaction.text, "shift": reaction.shift}
    values = {name: asdict(figure) | {"normalised": figure.normalised} for name, figure in figures.items()}
    return {"meaning": reaction.meaning} | values


def advise(
    model: BaseModel, keyword: str, class_word: str, request: Request, count: int
) -> Generator[Progress, None, Advice]:
    """Measure a keyword; what it yields counts pictures and measured words together.

    request: of the pictures, whose prompt does not matter. count: how many proposals. Raises UserError for a keyword
    that prompts cannot say.
    """
    if not words_of(keyword):
        raise UserError(f"the keyword {keyword!r} has no letters; give a word")
    form = Form(class_word)
    forms = [form, Form("")] if class_word else [form]
    asked = [keyword, *_candidates(model, keyword, count)]
    words = [keyword, *never_seen(model, request.seed)[:REFERENCES], *known_words(class_word)[:REFERENCES]]
    prompts = [form.without, *map(form, words)]
    total, done = len(prompts) * request.count + len(forms) * len(asked), 0
    pictures: list[list[Image.Image]] = []
    for images in draw(model, [_plain(prompt) for prompt in prompts], None, request):
        pictures.append(images)
        done += len(images)
        yield Progress(done, total)
    latents = [encode(model, image)[0].float().cpu() for image in pictures[0][:PROBED]]
    measures, figures = [], []
    for each in forms:
        measures.append(Reactions(model, each, latents, request.seed))
        figures.append(measures[-1].of(asked))
        done += len(asked)
        yield Progress(done, total)
    measure, reaction = max(
        zip(measures, (each[0] for each in figures), strict=True), key=lambda pair: pair[1].meaning or 0.0
    )
    stronger = [max(each, key=lambda found: found.strength) for each in zip(*figures, strict=True)]
    others = [Proposal(word, tokens_of(model, word), each) for word, each in zip(asked, stronger, strict=True)][1:]
    return Advice(
        keyword=keyword,
        class_word=class_word,
        base=model.name,
        tokens={encoder.name: tokens_of(model, keyword, encoder.name) for encoder in model.family.encoders},
        vocabulary=len(model.tokenizer),
        problem=poor(keyword, model.tokenize),
        trap=next((TRAPS[word] for word in words_of(keyword.lower()) if word in TRAPS), None),
        reaction=reaction,
        moved=_moved(pictures),
        like=tuple(measure.like(keyword, LIKE)) if (reaction.meaning or 0.0) > HARDLY else (),
        proposals=tuple(sorted(others, key=lambda each: each.reaction.strength)[:count]),
        pictures=dict(zip(prompts, pictures, strict=True)),
    )


def tokens_of(model: BaseModel, text: str, encoder: str | None = None) -> tuple[Token, ...]:
    """A text's tokens as one of the text encoders reads it."""
    tokenizer = model.tokenizer if encoder is None else model.tokenizers[encoder]
    ids = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    return tuple(Token(id, name) for id, name in zip(ids, tokenizer.convert_ids_to_tokens(ids), strict=True))


def sheet(advice: Advice) -> Image.Image:
    """The pictures without the keyword, with it, and with the words that it is measured by."""
    notes = ["", "the keyword", *["never seen"] * REFERENCES, *["known"] * REFERENCES]
    rows = [Row(prompt, note, images) for (prompt, images), note in zip(advice.pictures.items(), notes, strict=True)]
    return draw_sheet(f"{advice.keyword}: what {advice.base} makes of it", rows, [advice.sentence])


def _candidates(model: BaseModel, keyword: str, count: int) -> list[str]:
    """Half strings, half single tokens; none that the measurement itself uses."""
    if not count:
        return []
    each = max(CANDIDATES, count)
    words = proposals(keyword, model.tokenize, each) + rare_tokens(model.tokenizer.get_vocab(), keyword, each)
    return [word for word in words if word not in words_of(keyword.lower())]


def _plain(prompt: str) -> str:
    """A prompt in which nothing is syntax."""
    return re.sub(r"([\\()\[\]])", r"\\\1", prompt)


def _moved(pictures: Sequence[Sequence[Image.Image]]) -> Figure:
    see = Evaluator()
    without, *others = (see(images) for images in pictures)
    score, *references = (drift(without, each) for each in others)
    unseen, known = references[:REFERENCES], references[REFERENCES:]
    return Figure(score, sum(unseen) / len(unseen), sum(known) / len(known))


def _listed(words: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(map(repr, words[:-1])), repr(words[-1])]))
