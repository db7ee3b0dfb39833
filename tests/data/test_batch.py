from dataclasses import replace

import pytest
import torch

from limner.base.conditioning import Conditioning
from limner.data.batch import Batches, Example
from limner.data.caption import Tags


def examples(counts: dict[int, int], told: bool = True) -> list[Example]:
    return [
        Example(
            torch.full((4, size, 8), float(number)),
            f"{size} {number}",
            Conditioning(torch.full((1, 77, 3), float(number))) if told else None,
            weight=0.5 if number % 2 else 1.0,
        )
        for size, count in counts.items()
        for number in range(count)
    ]


EMPTY = Conditioning(torch.full((1, 77, 3), -1.0))


def test_every_example_once_an_epoch_one_size_a_batch() -> None:
    batches = Batches(examples({8: 9, 6: 5, 10: 1}), 4, seed=3)
    assert batches.steps_per_epoch == 3 + 2 + 1
    orders = []
    for epoch in range(3):
        seen: list[str] = []
        for step in range(6):
            batch = batches.at(epoch * 6 + step)
            assert len(batch.captions) == batch.latents.shape[0] == batch.weights.shape[0] <= 4
            seen += batch.captions
        assert sorted(seen) == sorted(example.caption for example in batches.examples)
        orders.append(seen)
    assert orders[0] != orders[1] != orders[2]


def test_a_batch_s_parts_belong_together() -> None:
    batch = Batches(examples({8: 9}), 4, seed=3).at(1)
    assert batch.conditioning is not None
    for row, caption in enumerate(batch.captions):
        number = int(caption.split()[1])
        assert batch.latents[row].unique().item() == number
        assert batch.conditioning.hidden_states[row].unique().item() == number
        assert batch.weights[row].item() == (0.5 if number % 2 else 1.0)


def test_batches_are_a_function_of_seed_and_step_alone() -> None:
    torch.manual_seed(1)
    whole = Batches(examples({8: 9, 6: 5}), 2, seed=7, dropout=0.3, empty=EMPTY)
    unbroken = [whole.at(step) for step in range(40)]
    torch.manual_seed(2)
    resumed = Batches(examples({8: 9, 6: 5}), 2, seed=7, dropout=0.3, empty=EMPTY)
    for step in (39, 0, 17, 5, 23):
        again = resumed.at(step)
        assert again.captions == unbroken[step].captions
        assert torch.equal(again.latents, unbroken[step].latents)
    other = Batches(examples({8: 9, 6: 5}), 2, seed=8, dropout=0.3, empty=EMPTY)
    assert [other.at(s).captions for s in range(40)] != [batch.captions for batch in unbroken]


def test_caption_dropout_tells_the_network_nothing() -> None:
    batches = Batches(examples({8: 10}), 5, seed=0, dropout=0.25, empty=EMPTY)
    dropped = total = 0
    for step in range(200):
        batch = batches.at(step)
        assert batch.conditioning is not None
        for caption, states in zip(batch.captions, batch.conditioning.hidden_states, strict=True):
            assert (caption == "") == (states.unique().tolist() == [-1.0])
            dropped, total = dropped + (caption == ""), total + 1
    assert 0.2 < dropped / total < 0.3
    untold = Batches(examples({8: 4}, told=False), 4, seed=0, dropout=1.0).at(0)
    assert untold.conditioning is None
    assert untold.captions == [""] * 4


def test_captions_of_different_lengths_share_a_batch() -> None:
    long = Example(torch.zeros(4, 8, 8), "long", Conditioning(torch.ones(1, 154, 3)))
    short = Example(torch.zeros(4, 8, 8), "short", Conditioning(torch.ones(1, 77, 3)))
    conditioning = Batches([long, short], 2, seed=0).at(0).conditioning
    assert conditioning is not None
    assert conditioning.hidden_states.shape == (2, 154, 3)


def test_what_cannot_work_is_refused() -> None:
    with pytest.raises(ValueError, match="examples"):
        Batches([], 4, seed=0)
    with pytest.raises(ValueError, match="empty caption"):
        Batches(examples({8: 2}), 1, seed=0, dropout=0.1)
    with pytest.raises(ValueError, match="either all"):
        Batches(examples({8: 2}) + examples({8: 2}, told=False), 1, seed=0)


def test_an_example_comes_as_often_as_it_says() -> None:
    plain = examples({8: 3})
    repeated = [replace(example, repeats=number + 1) for number, example in enumerate(plain)]
    batches = Batches(repeated, 2, seed=3)
    assert batches.steps_per_epoch == 3
    for epoch in range(3):
        seen = [caption for step in range(3) for caption in batches.at(epoch * 3 + step).captions]
        assert sorted(seen) == ["8 0", "8 1", "8 1", "8 2", "8 2", "8 2"]


def test_masks_come_with_their_latents() -> None:
    assert Batches(examples({8: 4}), 4, seed=3).at(0).masks is None
    plain = examples({8: 4})
    some = [replace(each, mask=torch.full((8, 8), n / 10) if n else None) for n, each in enumerate(plain)]
    batch = Batches(some, 4, seed=3).at(0)
    assert batch.masks is not None
    assert batch.masks.shape == (4, 8, 8)
    for caption, mask in zip(batch.captions, batch.masks, strict=True):
        assert torch.equal(mask, torch.full((8, 8), int(caption[-1]) / 10 if caption != "8 0" else 1.0))


def test_tags_change_from_step_to_step_and_not_from_run_to_run() -> None:
    tags = Tags(shuffle=True, keep=1)
    some = [replace(e, caption="zvq, a, b, c, d", tags=tags) for e in examples({8: 2}, told=False)]
    first, second = ([Batches(some, 2, seed=3).at(step).captions for step in range(6)] for _ in range(2))
    assert first == second
    assert len({caption for captions in first for caption in captions}) > 6
    assert Batches(some, 2, seed=4).at(0).captions != first[0]
    with pytest.raises(ValueError):
        Batches([replace(e, tags=tags) for e in examples({8: 2})], 2, seed=3)


def test_an_example_s_own_dropout_wins() -> None:
    never, always = (replace(e, dropout=share) for e, share in zip(examples({8: 2}), (0.0, 1.0), strict=True))
    batches = Batches([never, always], 2, seed=3, dropout=0.5, empty=EMPTY)
    assert all(sorted(batches.at(step).captions) == ["", "8 0"] for step in range(20))
    with pytest.raises(ValueError):
        Batches([never, always], 2, seed=3)
