"""Floor and ceiling of likeness and style, so that drawings can be placed between them."""

from collections.abc import Callable, Sequence

from limner.evaluate.features import Features
from limner.evaluate.metrics import (
    Figure,
    Spread,
    likeness,
    likeness_by_object,
    likeness_to_others,
    style_distance,
    style_distance_by_object,
    style_scale,
)

BySeed = Sequence[Features]  # one set of features a seed, the prompts in order
Measure = Callable[[Features], float]


class Scores:
    """Likeness and style of drawings between what the base reaches and what it could show at best.

    Style is compared with the real pictures as the base's autoencoder restores them: what it cannot show no training
    changes, and on a small base it is more than what is to be learned (outlined icons on the pocket base: 0.61 from the
    real to the restored ones, 0.44 from the restored ones to the base's own drawings in the nearest style).

    real: the judging pictures; restored: the same through the autoencoder. base: the untrained base's drawings.
    rivals: its drawings of the same by other prompts, of which the nearest is the floor. is_paired: whether row i of
    every set shows what row i of `real` shows; each seed is then measured by itself, object by object.
    """

    def __init__(
        self, real: Features, restored: Features, base: BySeed, rivals: Sequence[BySeed] = (), is_paired: bool = False
    ) -> None:
        self._real, self._restored = real, restored
        self._is_paired = is_paired
        self._scale = style_scale(restored, Features.join(base))
        floors = [base, *rivals]
        measures: tuple[Measure, ...] = (self._of, self._as)
        self._floors = {measure: max(self._score(measure, each) for each in floors) for measure in measures}
        self._ceilings: dict[Measure, float] = {
            self._of: likeness_by_object(restored, real) if is_paired else likeness_to_others(restored, real),
            self._as: 0.0,  # two samples of one style are that far apart in the mean
        }

    def likeness(self, drawings: BySeed) -> tuple[Figure, Spread | None]:
        """The figure of all, and the spread of its normalised value over seeds (None where that does not exist)."""
        return self._figures(self._of, drawings)

    def style(self, drawings: BySeed) -> tuple[Figure, Spread | None]:
        return self._figures(self._as, drawings)

    def _figures(self, measure: Measure, drawings: BySeed) -> tuple[Figure, Spread | None]:
        too_few = measure == self._as and len(drawings[0]) < 2  # one picture has no style
        seeds = [] if too_few else [self._figure(measure, [one]) for one in drawings]
        return self._figure(measure, drawings), _spread(seeds)

    def _figure(self, measure: Measure, drawings: BySeed) -> Figure:
        return Figure(self._score(measure, drawings), self._floors[measure], self._ceilings[measure])

    def _score(self, measure: Measure, drawings: BySeed) -> float:
        sets = drawings if self._is_paired else [Features.join(drawings)]
        return sum(map(measure, sets)) / len(sets)

    def _of(self, drawings: Features) -> float:
        return (likeness_by_object if self._is_paired else likeness)(drawings, self._real)

    def _as(self, drawings: Features) -> float:
        distance = style_distance_by_object if self._is_paired else style_distance
        return -distance(drawings, self._restored, self._scale)


def _spread(figures: Sequence[Figure]) -> Spread | None:
    shares = [figure.normalised for figure in figures]
    known = [share for share in shares if share is not None]
    return Spread.of(known) if known and len(known) == len(shares) else None
