"""Examples, and the batch of every step: a pure function of seed and step, so that a resumed run goes on exactly."""

import random
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limner.base.model import Conditioning


@dataclass(frozen=True)
class Known:
    """What a network should answer to latents that are noisy already, (4, h/8, w/8) float32, at a timestep."""

    timestep: int
    answer: Tensor


@dataclass(frozen=True)
class Example:
    """One crop ready for training: scaled latents (4, h/8, w/8) float32 on the CPU, its caption, and the caption's
    conditioning (batch of 1) unless the text encoder is trained; `weight` scales its loss. known: of latents that are
    noisy already, what to predict."""

    latents: Tensor
    caption: str
    conditioning: Conditioning | None
    weight: float = 1.0
    known: Known | None = None


@dataclass(frozen=True)
class Batch:
    """Examples of one size: latents (batch, 4, h/8, w/8), captions, conditioning or None, weights (batch,) float32.

    timesteps (known,) and answers (known, 4, h/8, w/8): of the last examples, whose latents are noisy already.
    """

    latents: Tensor
    captions: list[str]
    conditioning: Conditioning | None
    weights: Tensor
    timesteps: Tensor | None = None
    answers: Tensor | None = None


def collate(examples: list[Example]) -> Batch:
    """One batch of examples; those with a known answer go last."""
    told = [example.conditioning for example in examples if example.conditioning is not None]
    known = [example.known for example in examples if example.known is not None]
    if known and any(example.known is None for example in examples[-len(known) :]):
        raise ValueError("examples with a known answer go last")
    return Batch(
        latents=torch.stack([example.latents for example in examples]),
        captions=[example.caption for example in examples],
        conditioning=Conditioning.stack(told) if told else None,
        weights=torch.tensor([example.weight for example in examples], dtype=torch.float32),
        timesteps=torch.tensor([each.timestep for each in known]) if known else None,
        answers=torch.stack([each.answer for each in known]) if known else None,
    )


class Batches:
    """Every example once an epoch, in an order that the seed and the epoch decide, one size a batch.

    batch_size: at most; what one size does not divide into is spread evenly (5 in batches of 4 are 3 and 2).
    dropout: probability that a caption is replaced by the empty one, for classifier-free guidance; it needs `empty`,
    the empty caption's conditioning, if the examples carry conditioning.
    """

    def __init__(
        self,
        examples: list[Example],
        batch_size: int,
        seed: int,
        dropout: float = 0.0,
        empty: Conditioning | None = None,
    ) -> None:
        if not examples or batch_size < 1:
            raise ValueError("batches need examples and a batch size of at least 1")
        if len({example.conditioning is None for example in examples}) > 1:
            raise ValueError("either all examples carry conditioning or none does")
        if dropout > 0 and empty is None and examples[0].conditioning is not None:
            raise ValueError("caption dropout needs the empty caption's conditioning")
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        self.dropout = dropout
        self.empty = empty
        self._by_size: dict[tuple[int, ...], list[int]] = {}
        for index, example in enumerate(examples):
            self._by_size.setdefault(tuple(example.latents.shape), []).append(index)
        self._order: tuple[int, list[list[int]]] = (-1, [])

    @property
    def steps_per_epoch(self) -> int:
        return sum(self._parts(len(indices)) for indices in self._by_size.values())

    def indices_at(self, step: int) -> list[int]:
        """Which examples the batch of a step (from 0) holds."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if self._order[0] != epoch:
            self._order = epoch, self._shuffled(epoch)
        return self._order[1][position]

    def at(self, step: int) -> Batch:
        """The batch of a step, from 0."""
        return collate(self.examples_at(step))

    def examples_at(self, step: int) -> list[Example]:
        """The examples of a step, from 0, some with the caption left empty."""
        rng = random.Random(f"caption dropout {self.seed} {step}")
        chosen = [self.examples[index] for index in self.indices_at(step)]
        return [
            replace(example, caption="", conditioning=self.empty if example.conditioning is not None else None)
            if rng.random() < self.dropout
            else example
            for example in chosen
        ]

    def _parts(self, count: int) -> int:
        return -(-count // self.batch_size)

    def _shuffled(self, epoch: int) -> list[list[int]]:
        rng = random.Random(f"order {self.seed} {epoch}")
        batches = []
        for indices in self._by_size.values():
            order = rng.sample(indices, len(indices))
            parts = self._parts(len(order))
            batches += [order[part::parts] for part in range(parts)]
        rng.shuffle(batches)
        return batches
