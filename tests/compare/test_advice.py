"""Advice follows from figures by rules, and speaks of no difference below twice the spread."""

import pytest
from judged import entry

from limner.compare.advice import advice
from limner.compare.entry import Entry


def test_a_small_file_as_good_as_the_best_is_taken() -> None:
    said = advice([entry("dreambooth", 0.90, size=80_000_000, seconds=600), entry("lora", 0.88, size=4_000_000)])
    assert said == [
        "DreamBooth and LoRA do not differ in likeness by more than twice the spread (0.04); the highest is 0.90.",
        "LoRA: DreamBooth's likeness within the noise, at 1/20 of the size and at 1/10 of the time.",
        "Take LoRA: the smallest file among the best.",
    ]


def test_a_difference_above_the_noise_is_a_share() -> None:
    said = advice([entry("dreambooth", 0.90, size=80_000_000), entry("embedding", 0.45, size=8_000)])
    assert said == [
        "DreamBooth has the best likeness: 0.90, where 0 is the base and 1 what it could show.",
        "Embedding: 50% of DreamBooth's likeness at 1/10,000 of the size.",
        "Take DreamBooth: its likeness is best by more than the noise.",
    ]


@pytest.mark.parametrize("difference", [0.0, 0.01, 0.05, 0.099])
def test_no_difference_below_twice_the_spread_is_spoken_of(difference: float) -> None:
    said = " ".join(advice([entry("lora", 0.8, 0.05), entry("lokr", 0.8 - difference, 0.01)]))
    assert "do not differ" in said
    assert "%" not in said
    assert "best likeness" not in said


def test_forgetting_and_copying_are_warned_of_and_tell_between_equals() -> None:
    said = advice([entry("dreambooth", 0.9, kept=0.6, size=100), entry("lora", 0.9), entry("lokr", 0.9, copies=0.5)])
    assert any("DreamBooth forgets prompts: it keeps 60%" in each for each in said)
    assert any("LoKr repeats training pictures: 50%" in each for each in said)
    assert said[-1] == "Take LoRA: among the best, the soundest."


def test_nothing_is_said_where_nothing_is_known() -> None:
    assert "Nothing can be said" in advice([Entry("lora", failure="no")])[0]
    assert "spread is unknown" in advice([entry("lora", 0.9, None), entry("lokr", 0.1, None)])[0]
    said = advice([entry("lora", 0.01), entry("embedding", -0.02)])
    assert said[-1].startswith("Take none of them yet")
    assert any(each.startswith("Embedding learned next to nothing") for each in said)
    assert "Take LoRA" in advice([entry("lora", 0.7)])[-1]


def test_the_only_one_above_the_base_is_not_called_the_best() -> None:
    said = advice([entry("dreambooth", 0.02, 0.005), entry("embedding", 0.10, 0.08)])
    assert "do not differ" in said[0]
    assert said[-1] == "Take DreamBooth: the only one of them that is above the base by more than the noise."
