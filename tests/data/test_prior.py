"""The second source of the batch: how many of the class, which, and how much they count."""

from collections import Counter

import pytest
import torch

from limner.base.conditioning import Conditioning
from limner.data.batch import Batches, Example, Known, collate
from limner.data.prior import WithPrior

EMPTY = Conditioning(torch.full((1, 77, 3), -1.0))


def some(count: int, caption: str, side: int = 8, known: bool = False) -> list[Example]:
    told = Conditioning(torch.zeros(1, 77, 3))
    return [
        Example(
            torch.full((4, side, 8), float(number)),
            f"{caption} {number}",
            told,
            known=Known(100 + number, torch.full((4, side, 8), -1.0)) if known else None,
        )
        for number in range(count)
    ]


@pytest.mark.parametrize(("batch_size", "beside"), [(1, 1), (2, 1), (8, 2), (12, 3)])
def test_a_batch_has_its_share_of_the_class_behind_the_subject(batch_size: int, beside: int) -> None:
    source = WithPrior(Batches(some(24, "subject"), batch_size, seed=1), some(10, "class"), weight=0.5)
    seen: Counter[str] = Counter()
    for step in range(200):
        batch = source.at(step)
        own = batch.captions[:batch_size]
        assert len(batch.captions) == batch_size + beside == len(batch.latents) == len(batch.weights)
        assert all(caption.startswith("subject") for caption in own)
        assert all(caption.startswith("class") for caption in batch.captions[batch_size:])
        assert len(set(batch.captions)) == len(batch.captions)
        seen.update(batch.captions[batch_size:])
    assert len(seen) == 10


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0, 3.0])
def test_the_loss_is_the_subject_s_mean_and_the_class_s_times_its_weight(weight: float) -> None:
    source = WithPrior(Batches(some(24, "subject"), 8, seed=1), some(10, "class"), weight)
    weights = source.at(3).weights
    errors = torch.tensor([2.0] * 8 + [5.0] * 2)
    assert float((errors * weights).mean()) == pytest.approx(2.0 + weight * 5.0)


def test_the_subject_s_own_batches_are_what_they_were() -> None:
    """Without a class, and beside one."""
    alone = Batches(some(24, "subject"), 8, seed=1, dropout=0.3, empty=EMPTY)
    source = WithPrior(alone, some(10, "class"), 1.0)
    for step in (40, 0, 7):
        assert source.at(step).captions[:8] == alone.at(step).captions
        assert source.at(step).captions == WithPrior(alone, some(10, "class"), 1.0).at(step).captions
        assert torch.equal(source.at(step).latents[:8], alone.at(step).latents)


def test_sizes_go_together_and_captions_are_dropped_from_pictures_only() -> None:
    own = Batches(some(8, "subject") + some(4, "wide", side=6), 4, seed=0, dropout=0.5, empty=EMPTY)
    pictures, answers = (some(3, "class", known=k) + some(3, "wide class", side=6, known=k) for k in (False, True))
    for step in range(30):
        batch = WithPrior(own, pictures, 1.0).at(step)
        assert batch.answers is None
        batch = WithPrior(own, answers, 1.0).at(step)
        assert batch.answers is not None
        assert batch.timesteps is not None
        assert batch.answers.shape == batch.latents[4:].shape
        assert batch.timesteps.tolist() == [100 + int(row.unique()) for row in batch.latents[4:]]
        assert all("class" in caption for caption in batch.captions[4:])
    dropped = [WithPrior(own, pictures, 1.0).at(step).captions[-1] == "" for step in range(200)]
    assert 60 < sum(dropped) < 140


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="every size"):
        WithPrior(Batches(some(2, "wide", side=6), 1, seed=0), some(2, "class"), 1.0)
    with pytest.raises(ValueError, match="go last"):
        collate([*some(1, "class", known=True), *some(1, "subject")])


def test_few_of_the_class_are_shown_again() -> None:
    batch = WithPrior(Batches(some(16, "subject"), 16, seed=1), some(1, "class"), 1.0).at(0)
    assert batch.captions[16:] == ["class 0"] * 4
