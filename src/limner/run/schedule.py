"""When a training is measured: as often as a small share of its time allows."""

from dataclasses import dataclass

from limner.config import TrainSettings
from limner.errors import UserError
from limner.evaluate import milestone, online
from limner.events import Chosen

# Costs are counted in passes through the network for one picture: a step of training takes three of each of its own,
# one forward and about two backward.
PASSES_OF_STEP = 3
SHARE_OF_LOSSES, SHARE_OF_PICTURES = 0.025, 0.065  # of the training's time
AT_THE_START = 1.5  # milestones' worth of pictures that the base draws before it is taught anything
FEWEST_MILESTONES, MOST_MILESTONES = 2, 8
FEWEST_TO_HOLD_OUT = 6  # pictures; of fewer each one is needed
HELD_OUT_SHARE, MOST_HELD_OUT = 0.15, 12


@dataclass(frozen=True)
class Schedule:
    """The steps at which losses are measured, and those (milestones) at which pictures are drawn too."""

    steps: int
    measure_every: int
    milestones: int

    @staticmethod
    def of(settings: TrainSettings) -> "Schedule":
        assert settings.steps is not None
        return Schedule(settings.steps, settings.measure_every or 0, settings.milestones or 0)

    @property
    def at_milestones(self) -> set[int]:
        """As evenly as whole steps allow; the last is one of them."""
        return {max(1, round(self.steps * (at + 1) / self.milestones)) for at in range(self.milestones)}

    @property
    def passes(self) -> float:
        """What all of it costs, in passes through the network."""
        pictures = (self.milestones + AT_THE_START) * milestone.PASSES if self.milestones else 0
        return len(self.at_measurements) * online.PASSES + pictures

    @property
    def at_measurements(self) -> set[int]:
        """Milestones among them; where there are any, the state before the first step and the last one too."""
        regular = set(range(self.measure_every, self.steps + 1, self.measure_every)) if self.measure_every else set()
        found = regular | self.at_milestones
        return found | {0, self.steps} if found else found


def derive_watching(settings: TrainSettings, pictures: int, steps: int, batch: int) -> list[Chosen]:
    """A value for each setting of the watching, open or not, with its reason; without pictures nothing is watched.

    pictures: those that there are; steps: the most; batch: pictures in an optimizer step.
    """
    ends = settings.stop or ("auto" if settings.steps is None and pictures and not _is_blind(settings) else "never")
    judged = ends == "auto" or settings.keep in ("best", "all")
    if not pictures:
        nothing = "it learns from no pictures, by which it could be judged"
        values = {"held_out": 0, "stop": "never", "keep": "last", "measure_every": 0, "milestones": 0}
        return [Chosen(name, value, nothing) for name, value in values.items()]
    passes = PASSES_OF_STEP * batch * steps
    milestones = min(max(int(SHARE_OF_PICTURES * passes / milestone.PASSES - AT_THE_START), 0), MOST_MILESTONES)
    if judged:
        milestones = min(max(milestones, FEWEST_MILESTONES), steps)
    every = max(1, round(online.PASSES / (PASSES_OF_STEP * batch) / SHARE_OF_LOSSES))
    held_out, why_held_out = _held_out(pictures, judged)
    measures = every <= steps or judged
    return [
        Chosen("held_out", held_out, why_held_out),
        Chosen("stop", ends, _why_stop(settings, ends)),
        Chosen("keep", *(("best", "the best state becomes the file") if ends == "auto" else ("last", _LAST))),
        Chosen(
            "measure_every",
            every if measures else 0,
            "that takes about 2.5% of the time"
            if measures
            else f"the run has fewer steps than the usual {every} between two measurements",
        ),
        Chosen("milestones", milestones, _why_milestones(milestones, judged)),
    ]


_LAST = "the run does not stop by itself, so its last state becomes the file; keep = best takes the best one"


def _why_stop(settings: TrainSettings, ends: str) -> str:
    if ends == "auto":
        return "steps is left open"
    if settings.steps is None:
        return "nothing is measured"
    return "steps is set, so all of them are done; stop = auto ends earlier when nothing more is gained"


def _why_milestones(milestones: int, judged: bool) -> str:
    if milestones:
        return "images of them take up to 7% of the time" + (", but there are two at least" if judged else "")
    return "in so short a run their images would take more than 7% of the time; stop = auto has some all the same"


def check_watching(settings: TrainSettings, pictures: int) -> None:
    """Raise UserError if there is to be something to judge by, and there are no pictures."""
    asked = {
        "held_out": settings.held_out,
        "measure_every": settings.measure_every,
        "milestones": settings.milestones,
        "stop": settings.stop == "auto",
        "keep": settings.keep in ("best", "all"),
    }
    for name in (name for name, wanted in asked.items() if wanted and not pictures):
        option = name.replace("_", "-")
        raise UserError(
            f"{name} = {getattr(settings, name)}, but the method {settings.method} learns from no pictures, by which "
            f"it could be judged; leave --{option} out"
        )


def _is_blind(settings: TrainSettings) -> bool:
    return settings.measure_every == 0 and settings.milestones == 0


def _held_out(pictures: int, judged: bool) -> tuple[int, str]:
    if not judged:
        return (
            0,
            "a run that does not stop by itself learns from all images; stop = auto sets some aside to judge by",
        )
    if pictures < FEWEST_TO_HOLD_OUT:
        return 0, f"of fewer than {FEWEST_TO_HOLD_OUT} pictures each one is needed"
    return min(round(HELD_OUT_SHARE * pictures), MOST_HELD_OUT), f"a share of {HELD_OUT_SHARE:.0%} is kept to judge by"
