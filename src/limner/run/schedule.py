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
    why_stop = "steps is given" if settings.steps is not None else "nothing is measured"
    if ends == "auto":
        why_stop = "steps is left open"
    return [
        Chosen("held_out", held_out, why_held_out),
        Chosen("stop", ends, why_stop),
        Chosen(
            "keep", "best" if ends == "auto" else "last", "it is the best that counts" if ends == "auto" else why_stop
        ),
        Chosen("measure_every", every if every <= steps or judged else 0, "so it takes about a fortieth of the time"),
        Chosen(
            "milestones",
            milestones,
            "with their pictures they take a fifteenth of the time, if there are more than two",
        ),
    ]


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
        return 0, "the length is fixed, so each picture may as well be learned from"
    if pictures < FEWEST_TO_HOLD_OUT:
        return 0, f"of fewer than {FEWEST_TO_HOLD_OUT} pictures each one is needed"
    return min(round(HELD_OUT_SHARE * pictures), MOST_HELD_OUT), f"a share of {HELD_OUT_SHARE:.0%} is kept to judge by"
