"""Prior preservation (Ruiz et al. 2022, arXiv 2208.12242): a second, weighted source of the batch, which shows what the
base knows of the subject's class, so that learning the subject does not change it."""

import random
from collections.abc import Sequence
from dataclasses import replace

from limner.data.batch import Batch, Batches, Example, collate

SHARE = 0.25  # examples of the class for each one of the subject: they say the same again and again, and cost as much


class WithPrior:
    """Batches of a subject with examples of its class beside them: a quarter as many, at least one, of the same size.

    weight: how much the class counts against the subject, whatever their numbers: the loss of a batch is the mean over
    the subject's plus `weight` times the mean over the class's, as DreamBooth has it.
    """

    def __init__(self, subject: Batches, prior: Sequence[Example], weight: float) -> None:
        self.subject = subject
        self.weight = weight
        self._by_size: dict[tuple[int, ...], list[Example]] = {}
        for example in prior:
            self._by_size.setdefault(tuple(example.latents.shape), []).append(example)
        sizes = {tuple(example.latents.shape) for example in subject.examples}
        if not sizes <= self._by_size.keys():
            raise ValueError("there must be examples of the class in every size of the subject's")

    @property
    def examples(self) -> Sequence[Example]:
        """Those of the subject."""
        return self.subject.examples

    def at(self, step: int) -> Batch:
        """The batch of a step, from 0: the subject's examples, then the class's."""
        own = self.subject.examples_at(step)
        beside = self._beside(step, tuple(own[0].latents.shape), max(1, round(SHARE * len(own))))
        whole = len(own) + len(beside)
        own = [replace(each, weight=each.weight * whole / len(own)) for each in own]
        beside = [replace(each, weight=each.weight * self.weight * whole / len(beside)) for each in beside]
        return collate([*own, *beside])

    def _beside(self, step: int, size: tuple[int, ...], count: int) -> list[Example]:
        """Examples of the class for a step: a function of seed and step alone, some with the caption left empty."""
        rng = random.Random(f"class {self.subject.seed} {step}")
        pool = self._by_size[size]
        chosen = rng.sample(pool, count) if count <= len(pool) else rng.choices(pool, k=count)
        return [
            self._empty(each) if each.known is None and rng.random() < self.subject.dropout else each for each in chosen
        ]

    def _empty(self, example: Example) -> Example:
        return replace(example, caption="", conditioning=self.subject.empty if example.conditioning else None)
