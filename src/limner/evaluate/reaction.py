"""How strongly a base reacts to a word, without drawing: by what its text encoder and its network make of prompts.

A word that a base has never seen still changes its predictions, for every prompt does. So what a word means is how far
it leads away from the mean of words that nobody has ever seen; the figure is 0 where such words themselves are, and 1
where words are that everybody knows.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from limner.base.conditioning import TOKENS
from limner.base.model import BaseModel
from limner.data.batch import Example
from limner.data.keyword import frequent_words, proposals
from limner.evaluate.metrics import Figure
from limner.evaluate.online import answers, make_probe
from limner.evaluate.pictures import SMALL, TOGETHER

KNOWN = ("red", "car", "blue", "apple", "dog", "guitar", "tree", "cat")
NEVER_SEEN = 12  # strings
ANYTHING = "thing"  # in the place of a class that nobody named
FREQUENT = 20_000  # ids of the vocabulary below which a word has a meaning that a person would know
MEANT = 0.75  # of a typical known word's way, how far a word must lead to be one that the base knows
AT_ONCE = 256  # short texts that are encoded together


@dataclass(frozen=True)
class Response:
    """What a base makes of a word: predictions (probes, bins, c, h/8, w/8) and text states (dim,), float32."""

    predictions: Tensor
    state: Tensor


@dataclass(frozen=True)
class Reaction:
    """A word's figures, each with those of never seen words as its floor and of known words as its ceiling.

    noise: how far its predictions are from the mean of the never seen words', root mean square. text: the same of the
    text's state at its end, as 1 - cosine. shift: how far its predictions are from those without a word.
    """

    noise: Figure
    text: Figure
    shift: Figure

    @property
    def meaning(self) -> float | None:
        """What the word says to the base: 0 as little as a word never seen, 1 as much as a known one; None of a base
        that does not tell these apart."""
        said = [self.noise.normalised, self.text.normalised]
        return None if None in said else statistics.fmean(each for each in said if each is not None)

    @property
    def strength(self) -> float:
        """By which words are ranked, the least first: what it means, and then by how much it changes the picture."""
        return max(self.meaning or 0.0, self.shift.normalised or 0.0)


class Form:
    """A prompt with a place for a word: "a {word} dog", without it "a dog"; of no class "a {word}" and "a thing"."""

    def __init__(self, class_word: str) -> None:
        self.class_word = class_word

    def __call__(self, word: str) -> str:
        return f"a {word} {self.class_word}".rstrip()

    @property
    def without(self) -> str:
        return f"a {self.class_word or ANYTHING}"


class Reactions:
    """Measures words against the same noise over the same pictures (latents), under one form of prompt."""

    def __init__(self, model: BaseModel, form: Form, latents: Sequence[Tensor], seed: int) -> None:
        """latents: (c, h/8, w/8) float32 of pictures that the base draws without a word."""
        self.model, self.form = model, form
        examples = [Example(each, form.without, None) for each in latents]
        self._probes = [make_probe(model, example, seed + number) for number, example in enumerate(examples)]
        unseen, known = never_seen(model, seed), known_words(form.class_word)
        found = self._respond([form.without, *map(form, unseen), *map(form, known)])
        self._without, self._unseen, self._known = found[0], found[1 : 1 + len(unseen)], found[1 + len(unseen) :]
        others = [[other for other in self._unseen if other is not each] for each in self._unseen]
        floors = [self._distances(each, rest) for each, rest in zip(self._unseen, others, strict=True)]
        ceilings = [self._distances(each, self._unseen) for each in self._known]
        self._floor, self._ceiling = _medians(floors), _medians(ceilings)

    def of(self, words: Sequence[str]) -> list[Reaction]:
        """How the base reacts to each of the words."""
        found = [self._distances(each, self._unseen) for each in self._respond([self.form(word) for word in words])]
        return [Reaction(*map(Figure, each, self._floor, self._ceiling)) for each in found]

    def like(self, word: str, count: int) -> list[str]:
        """The frequent words of the vocabulary whose states lead the same way from the never seen words' as the
        word's, those first whose predictions do too."""
        words = [each for each in frequent_words(self.model.tokenizer.get_vocab(), FREQUENT) if each != word.lower()]
        unseen = _mean([each.state for each in self._unseen])
        ways = self._states([self.form(each) for each in words]) - unseen
        known = statistics.median(float((each.state - unseen).norm()) for each in self._known)
        way = self._states([self.form(word)])[0] - unseen
        alike = normalize(ways, dim=1) @ normalize(way, dim=0)
        alike[ways.norm(dim=1) < MEANT * known] = -1  # a word that means nothing to this base tells nothing
        best = alike.topk(min(3 * count, len(words)))
        nearest = [words[at] for at, share in zip(best.indices.tolist(), best.values, strict=True) if share > 0]
        own, *others = self._respond([self.form(each) for each in (word, *nearest)])
        middle = _mean([each.predictions for each in self._unseen])
        ahead = (own.predictions - middle).flatten()
        agree = [float(cosine_similarity((each.predictions - middle).flatten(), ahead, 0)) for each in others]
        return [nearest[at] for at in sorted(range(len(nearest)), key=lambda at: -agree[at])[:count]]

    def _respond(self, prompts: Sequence[str]) -> list[Response]:
        # always the same ones together: a large base has no room for more than one, a small one is idle with it
        together = max(1, TOGETHER // len(self._probes)) if self.model.resolution <= SMALL else 1
        told: list[Tensor] = []
        for start in range(0, len(prompts), together):
            some = prompts[start : start + together]
            told += answers(self.model, [probe.told(prompt, None) for prompt in some for probe in self._probes])
        states, each = self._states(prompts), len(self._probes)
        return [Response(torch.stack(told[at * each : (at + 1) * each]), states[at]) for at in range(len(prompts))]

    def _distances(self, found: Response, unseen: Sequence[Response]) -> tuple[float, float, float]:
        middle = _mean([each.predictions for each in unseen])
        noise = _rms(found.predictions - middle)
        text = 1 - float(cosine_similarity(found.state, _mean([each.state for each in unseen]), 0))
        return noise, text, _rms(found.predictions - self._without.predictions)

    @torch.no_grad()
    def _states(self, prompts: Sequence[str]) -> Tensor:
        """States (prompts, dim) float32 at the end marks of short prompts; what comes behind is not computed."""
        framed = [self.model.frame(ids) for ids in (self.model.tokenize(prompt)[: TOKENS - 2] for prompt in prompts)]
        end = self.model.tokenizer.eos_token_id
        found = []
        for start in range(0, len(framed), AT_ONCE):
            tokens = torch.tensor(framed[start : start + AT_ONCE])
            ends = (tokens == end).long().argmax(1)
            states = self.model.encode_tokens(tokens[:, : int(ends.max()) + 1]).hidden_states.float().cpu()
            found.append(states[torch.arange(len(states)), ends])
        return torch.cat(found)


def known_words(class_word: str) -> list[str]:
    """Words that every base was taught, none of them the class's own."""
    return [word for word in KNOWN if word not in class_word.lower().split()]


def never_seen(model: BaseModel, seed: int) -> list[str]:
    """Strings of four consonants that stand in no text, of two rare tokens each."""
    return proposals(f"never seen {seed}", model.tokenize, NEVER_SEEN)


def _mean(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(tensors)).mean(0)


def _rms(tensor: Tensor) -> float:
    return float(tensor.square().mean().sqrt())


def _medians(rows: Sequence[tuple[float, float, float]]) -> tuple[float, ...]:
    return tuple(map(statistics.median, zip(*rows, strict=True)))
