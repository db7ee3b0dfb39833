"""What follows from a training's measurements: when it ends, which state is best, what it warns of."""

import random

from limner.run.verdict import WINDOW, Measurement, best, stop_reason, warnings


def losses(*values: tuple[float, float], every: int = 10) -> list[Measurement]:
    """Measurements without pictures, of (frozen, held-out) losses."""
    return [
        Measurement(every * number, {"frozen_loss": frozen, "held_out_loss": unseen})
        for number, (frozen, unseen) in enumerate(values)
    ]


def milestones(
    *likeness: float, frozen: float | None = None, copies: float = 0.0, fidelity: float = 1.0
) -> list[Measurement]:
    """Milestones with these likenesses; the frozen loss falls on, or rests at a value after the first."""
    history = [Measurement(0, {"frozen_loss": 1.0})]
    for number, value in enumerate(likeness, 1):
        figures = {"likeness": value, "near_copies": copies, "prompt_fidelity": fidelity}
        figures["frozen_loss"] = 1.0 - 0.1 * number if frozen is None else frozen + 0.001 * (number % 2)
        history.append(Measurement(10 * number, figures))
    return history


def test_it_stops_when_likeness_and_loss_have_both_come_to_rest() -> None:
    resting = milestones(0.5, 0.8, 0.81, 0.81, 0.8, frozen=0.5)
    reason = stop_reason(resting)
    assert reason is not None
    assert "likeness" in reason
    assert stop_reason(resting[:-1]) is None  # likeness has rested for two milestones only
    assert stop_reason(milestones(0.5, 0.6, 0.7, 0.75, 0.8, frozen=0.5)) is None
    assert stop_reason(milestones(0.5, 0.8, 0.81, 0.81, 0.8)) is None  # the loss still falls
    assert "near-copies" in str(stop_reason(milestones(0.5, 0.8, 0.81, 0.81, 0.8, copies=0.5)))


def test_between_milestones_it_goes_on() -> None:
    resting = milestones(0.5, 0.8, 0.81, 0.81, 0.8, frozen=0.5)
    assert stop_reason([*resting, Measurement(55, {"frozen_loss": 0.5})]) is None


def test_without_pictures_losses_decide() -> None:
    falling = [(1.0 - 0.1 * n, 1.0 - 0.1 * n) for n in range(8)]
    assert stop_reason(losses(*falling)) is None
    turned = [*falling[:4], *[(0.6 - 0.1 * n, 0.8 + 0.01 * n) for n in range(WINDOW)]]
    assert "does not learn from" in str(stop_reason(losses(*turned)))
    rested = [(1.0, 1.0), (0.5, 0.5), *[(0.3 + 0.001 * (n % 2), 0.3) for n in range(WINDOW)]]
    assert "come to rest" in str(stop_reason(losses(*rested)))


def test_the_best_state_has_likeness_but_no_copies_and_follows_prompts() -> None:
    history = milestones(0.5, 0.8)
    assert best(history) is history[2]
    later = Measurement(30, {"likeness": 0.75, "near_copies": 0.0, "prompt_fidelity": 1.0})
    assert best([*history, later]) is later  # by chance lower
    worse = Measurement(30, {"likeness": 0.65, "near_copies": 0.0, "prompt_fidelity": 1.0})
    assert best([*history, worse]) is history[2]
    copied = Measurement(40, {"likeness": 0.95, "near_copies": 0.5, "prompt_fidelity": 1.0})
    deaf = Measurement(50, {"likeness": 0.85, "near_copies": 0.0, "prompt_fidelity": 0.1})
    assert best([*history, copied, deaf]) is history[2]


def test_the_best_is_the_new_state_or_what_was_the_best_before() -> None:
    """Or else a state would be wanted that was thrown away."""
    chance = random.Random(0)
    for _ in range(300):
        history = milestones(*(chance.random() for _ in range(8)))
        for count in range(2, len(history)):
            assert best(history[: count + 1]) in (best(history[:count]), history[count])


def test_without_pictures_the_held_out_minimum_is_best_but_never_the_untrained_state() -> None:
    history = losses((1.0, 0.1), (0.9, 0.5), (0.8, 0.4), (0.7, 0.6))
    assert best(history) is history[2]
    assert best([Measurement(10, {"frozen_loss": 0.1})]) is None


def test_overfitting_copies_and_drift_are_told_with_what_to_do() -> None:
    assert not list(warnings(losses((1.0, 1.0), (0.5, 0.5))))
    ((kind, sentence),) = warnings(losses((1.0, 1.0), (0.5, 0.5), (0.4, 0.6)))
    assert kind == "overfitting"
    assert "since step 10" in sentence
    assert "more pictures" in sentence
    assert not list(warnings(losses((1.0, 1.0), (0.5, 0.5), (0.6, 0.6))))  # both worse: not by heart
    bad = Measurement(10, {"near_copies": 0.5, "prediction_drift": 0.4})
    assert [kind for kind, _ in warnings([bad])] == ["near-copies", "drift"]
