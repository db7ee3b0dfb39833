"""What the measurements of a training say: when to stop, which state is best, what to warn of.

All of it is a function of the measurements in their order, so that a resumed run comes to the same.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from limner.evaluate.online import has_settled

WINDOW = 4  # measurements over which the loss of the frozen batch must have come to rest
SHARE = 0.15  # of its variance: DVAR's epsilon for embeddings and Custom Diffusion (arXiv 2302.04841, section 4)
PATIENCE = 3  # milestones without a gain
GAIN = 0.02  # of likeness that counts as one: above what the few drawn pictures leave to chance
RISE = 0.02  # of the held-out loss over its minimum that counts as one
COPIED = 0.34  # share of near-copies that is too much
MOVED = 0.3  # change of neutral predictions, relative to their size, that is too much
NOISE = 0.1  # of the score, that a few drawings leave to chance
FIDELITY_WEIGHT = 0.2  # a fifth of the prompt fidelity weighs as much as a twenty-fifth of the likeness


@dataclass(frozen=True)
class Measurement:
    """The figures of the state after a step, by name."""

    step: int
    figures: dict[str, float]

    @property
    def is_milestone(self) -> bool:
        """Whether pictures were drawn."""
        return "near_copies" in self.figures

    @property
    def score(self) -> float | None:
        """By which states of a training compare; None if nothing tells.

        With pictures: likeness, of which near-copies have none, and a little for what prompts still change. Without, or
        where likeness cannot be measured: how well unseen pictures are predicted.
        """
        figures = self.figures
        if "likeness" in figures:
            fidelity = FIDELITY_WEIGHT * figures.get("prompt_fidelity", 0.0)
            return figures["likeness"] * (1 - figures["near_copies"]) + fidelity
        return -figures["held_out_loss"] if "held_out_loss" in figures else None


def candidates(history: Sequence[Measurement]) -> list[Measurement]:
    """The states that can become the file: milestones, or where there are none all that were measured."""
    drawn = [each for each in history if each.is_milestone]
    return [each for each in drawn or history if each.step > 0 and each.score is not None]


def best(history: Sequence[Measurement]) -> Measurement | None:
    """The best state; None if nothing tells.

    Of drawn ones the latest whose score is the highest, up to NOISE: the learning rate falls, so what is later is the
    better finished. Of others the earliest with the least loss, which is measured without chance. What was the best
    before a measurement is the best after it, or the new state is: no other need be kept.
    """
    found = [(each, each.score or 0.0) for each in candidates(history)]
    if not found:
        return None
    top = max(score for _, score in found)
    if not found[0][0].is_milestone:
        return next(each for each, score in found if score == top)
    return [each for each, score in found if score >= top - NOISE][-1]


def stop_reason(history: Sequence[Measurement]) -> str | None:
    """Why nothing more is to be gained, as a clause, or None. Asked after each measurement; where pictures are drawn,
    it answers only at milestones."""
    drawn = [each for each in history if each.is_milestone]
    if drawn and not history[-1].is_milestone:
        return None
    losses = _settled(history) or _past_minimum(history) or _copied(drawn)
    if not drawn or "likeness" not in drawn[-1].figures:
        return losses
    likeness = [each.figures["likeness"] for each in drawn if each.step > 0]
    earlier, recent = likeness[:-PATIENCE], likeness[-PATIENCE:]
    if not earlier or max(recent) >= max(earlier) + GAIN or losses is None:
        return None
    return f"likeness rose no further in the last {PATIENCE} milestones, and {losses}"


def _settled(history: Sequence[Measurement]) -> str | None:
    losses = [each.figures["frozen_loss"] for each in history if "frozen_loss" in each.figures]
    return "the loss of a frozen batch has come to rest" if has_settled(losses, WINDOW, SHARE) else None


def _past_minimum(history: Sequence[Measurement]) -> str | None:
    """Whether the held-out loss has been above its minimum for a window."""
    losses = [each.figures["held_out_loss"] for each in history if "held_out_loss" in each.figures]
    if len(losses) <= WINDOW or min(losses[-WINDOW:]) <= min(losses[:-WINDOW]):
        return None
    return "pictures that it does not learn from are predicted worse than before"


def _copied(drawn: Sequence[Measurement]) -> str | None:
    copied = drawn and drawn[-1].figures["near_copies"] >= COPIED
    return "it draws near-copies of its pictures" if copied else None


def warnings(history: Sequence[Measurement]) -> Iterator[tuple[str, str]]:
    """(kind, sentence) of what the last measurement gives to worry about: what is wrong, and what to do."""
    last = history[-1]
    unseen = [each for each in history if "held_out_loss" in each.figures]
    if unseen and unseen[-1] is last:
        lowest = min(unseen, key=lambda each: each.figures["held_out_loss"])
        was, now = lowest.figures["held_out_loss"], last.figures["held_out_loss"]
        if now > (1 + RISE) * was and last.figures["frozen_loss"] < lowest.figures["frozen_loss"]:
            yield (
                "overfitting",
                f"since step {lowest.step} the pictures it learns from are predicted better and unseen ones worse "
                f"({now:.4f} at step {last.step}, {was:.4f} then): it learns them by heart; if prompts lose their "
                "effect, take more pictures, fewer steps, a lower learning rate or a smaller rank",
            )
    if last.figures.get("near_copies", 0) >= COPIED:
        yield (
            "near-copies",
            f"{last.figures['near_copies']:.0%} of the pictures drawn at step {last.step} nearly repeat a training "
            "picture; take more or more different pictures, captions that say what differs, or fewer steps",
        )
    if last.figures.get("prediction_drift", 0) >= MOVED:
        yield (
            "drift",
            f"at step {last.step} prompts without the keyword are answered "
            f"{last.figures['prediction_drift']:.0%} differently than by the base; "
            "a lower learning rate, fewer steps or class images keep the rest as it was",
        )


def in_words(figures: dict[str, float]) -> str:
    """The figures of a milestone for people."""
    named = {
        "likeness": ("likeness {:.2f}", figures.get("likeness")),
        "prompt fidelity": ("prompt fidelity {:.2f}", figures.get("prompt_fidelity")),
        "copies": ("near-copies {:.0%}", figures.get("near_copies")),
        "unseen": ("held-out loss {:.4f}", figures.get("held_out_loss")),
        "frozen": ("frozen loss {:.4f}", figures.get("frozen_loss")),
    }
    return ", ".join(text.format(value) for text, value in named.values() if value is not None)
