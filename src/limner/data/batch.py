"""Examples, and the batch of every step: a pure function of seed and step, so that a resumed run goes on exactly."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limner.base.conditioning import Conditioning, Sizes
from limner.data.caption import Tags


@dataclass(frozen=True)
class Known:
    """What a network should answer to latents that are noisy already, (4, h/8, w/8) float32, at a timestep."""

    timestep: int
    answer: Tensor


@dataclass(frozen=True)
class Example:
    """One crop ready for training: scaled latents (4, h/8, w/8) float32 on the CPU, its caption, and the caption's
    conditioning (batch of 1) unless captions are encoded as the run goes.

    weight: of its loss. repeats: appearances in an epoch. mask: how much each latent pixel counts (h/8, w/8). tags:
    how its caption changes; it needs captions that are encoded as the run goes. dropout: probability that the caption
    is replaced by the empty one; None for that of the batches. known: of latents that are noisy already, what to
    predict. sizes: what XL is told of the crop; None for a whole picture.
    """

    latents: Tensor
    caption: str
    conditioning: Conditioning | None
    weight: float = 1.0
    repeats: int = 1
    mask: Tensor | None = None
    tags: Tags | None = None
    dropout: float | None = None
    known: Known | None = None
    sizes: Sizes | None = None


@dataclass(frozen=True)
class Batch:
    """Examples of one size: latents (batch, c, h/8, w/8), captions, conditioning or None, weights (batch,) float32,
    masks (batch, h/8, w/8) float32 or None where everything counts, sizes (batch, 6) float32 or None for whole ones.

    timesteps (known,) and answers (known, c, h/8, w/8): of the last examples, whose latents are noisy already.
    """

    latents: Tensor
    captions: list[str]
    conditioning: Conditioning | None
    weights: Tensor
    masks: Tensor | None = None
    timesteps: Tensor | None = None
    answers: Tensor | None = None
    sizes: Tensor | None = None


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
        masks=_masks(examples),
        timesteps=torch.tensor([each.timestep for each in known]) if known else None,
        answers=torch.stack([each.answer for each in known]) if known else None,
        sizes=_sizes(examples),
    )


class Batches:
    """Every example as often in an epoch as it says, in an order that the seed and the epoch decide, one size a batch.

    batch_size: at most; what one size does not divide into is spread evenly (5 in batches of 4 are 3 and 2).
    dropout: probability that a caption is replaced by the empty one, for classifier-free guidance, where an example has
    none of its own; it needs `empty`, the empty caption's conditioning, if the examples carry conditioning.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        batch_size: int,
        seed: int,
        dropout: float = 0.0,
        empty: Conditioning | None = None,
    ) -> None:
        if not examples or batch_size < 1:
            raise ValueError("batches need examples and a batch size of at least 1")
        self._by_size: dict[tuple[int, ...], list[int]] = {}
        told: set[bool] = set()
        drops = varies = False
        for index, example in enumerate(examples):
            self._by_size.setdefault(tuple(example.latents.shape), []).extend([index] * example.repeats)
            told.add(example.conditioning is not None)
            drops |= (dropout if example.dropout is None else example.dropout) > 0
            varies |= example.tags is not None
        if len(told) > 1:
            raise ValueError("either all examples carry conditioning or none does")
        if told == {True} and (varies or (drops and empty is None)):
            raise ValueError("caption dropout needs the empty caption's conditioning, and tags examples without any")
        self.examples = examples
        self.batch_size = batch_size
        self.seed = seed
        self.dropout = dropout
        self.empty = empty
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
        varying = random.Random(f"tags {self.seed} {step}")
        return [self._told(self.examples[index], rng, varying) for index in self.indices_at(step)]

    def _told(self, example: Example, rng: random.Random, varying: random.Random) -> Example:
        """The example with the caption that this step has for it."""
        if rng.random() < (self.dropout if example.dropout is None else example.dropout):
            return replace(example, caption="", conditioning=self.empty if example.conditioning is not None else None)
        return replace(example, caption=example.tags.apply(example.caption, varying)) if example.tags else example

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


def _sizes(examples: list[Example]) -> Tensor | None:
    """(batch, 6) float32."""
    told = [example.sizes for example in examples if example.sizes is not None]
    if told and len(told) < len(examples):
        raise ValueError("either all examples of a batch tell their sizes or none does")
    return torch.tensor(told, dtype=torch.float32) if told else None


def _masks(examples: list[Example]) -> Tensor | None:
    """(batch, h/8, w/8); where an example has none, everything counts."""
    if all(example.mask is None for example in examples):
        return None
    whole = torch.ones(examples[0].latents.shape[1:])
    return torch.stack([whole if example.mask is None else example.mask for example in examples])
