"""Floor and ceiling of likeness and style, so that drawings can be placed between them."""

from collections.abc import Callable, Sequence

from torch import Tensor

from limner.evaluate.features import Features
from limner.evaluate.metrics import (
    Figure,
    Spread,
    likeness,
    likeness_by_object,
    likeness_to_others,
    share_of_way,
    style_scale,
)

BySeed = Sequence[Features]  # one set of features a seed, the prompts in order
Measure = Callable[[BySeed, Sequence[int]], float]  # of drawings, and the numbers of their seeds


class Scores:
    """Likeness and style of drawings between what the base reaches and what it could show at best.

    Both are the share of the way from the base's drawings to the real pictures as the base's autoencoder restores them:
    what it cannot show no training changes, and on a small base it is more than what is to be learned (outlined icons
    on the pocket base: 0.61 from the real to the restored ones, 0.44 from the restored ones to the base's own drawings
    in the nearest style). Likeness goes by the pooled features, what is shown; style by those of how it is drawn. The
    mean cosine to the real pictures, as in the literature, stands beside them: it falls with every blur, so that on the
    pocket base a drawing of a helicopter can score below the base's clean airplane.

    real: the judging pictures; restored: the same through the autoencoder. base: the untrained base's drawings.
    rivals: its drawings of the same by other prompts, of which the nearest is the floor. is_paired: whether row i of
    every set shows what row i of `real` shows; each seed is then measured by itself, object by object.
    """

    def __init__(
        self, real: Features, restored: Features, base: BySeed, rivals: Sequence[BySeed] = (), is_paired: bool = False
    ) -> None:
        self._real, self._restored, self._base = real, restored, base
        self._is_paired = is_paired
        self._scale = style_scale(restored, Features.join(base))
        every = range(len(base))
        measures: tuple[Measure, ...] = (self._of, self._as, self._cosine)
        self._floors = {measure: max(measure(each, every) for each in (base, *rivals)) for measure in measures}
        nearest = likeness_by_object(restored, real) if is_paired else likeness_to_others(restored, real)
        self._ceilings: dict[Measure, float] = {self._of: 1.0, self._as: 1.0, self._cosine: nearest}

    def likeness(self, drawings: BySeed) -> tuple[Figure, Spread | None]:
        """The figure of all, and the spread of its normalised value over seeds (None where that does not exist)."""
        return self._figures(self._of, drawings)

    def style(self, drawings: BySeed) -> tuple[Figure, Spread | None]:
        return self._figures(self._as, drawings)

    def cosine(self, drawings: BySeed) -> Figure:
        return self._figure(self._cosine, drawings, range(len(drawings)))

    def _figures(self, measure: Measure, drawings: BySeed) -> tuple[Figure, Spread | None]:
        too_few = len(drawings[0]) < 2  # one picture has no mean
        seeds = [] if too_few else [self._figure(measure, [one], [seed]) for seed, one in enumerate(drawings)]
        return self._figure(measure, drawings, range(len(drawings))), _spread(seeds)

    def _figure(self, measure: Measure, drawings: BySeed, seeds: Sequence[int]) -> Figure:
        return Figure(measure(drawings, seeds), self._floors[measure], self._ceilings[measure])

    def _of(self, drawings: BySeed, seeds: Sequence[int]) -> float:
        return self._share(drawings, seeds, lambda features: features.pooled)

    def _as(self, drawings: BySeed, seeds: Sequence[int]) -> float:
        return self._share(drawings, seeds, lambda features: features.style / self._scale)

    def _cosine(self, drawings: BySeed, seeds: Sequence[int]) -> float:
        sets = drawings if self._is_paired else [Features.join(drawings)]
        return sum((likeness_by_object if self._is_paired else likeness)(each, self._real) for each in sets) / len(sets)

    def _share(self, drawings: BySeed, seeds: Sequence[int], look: Callable[[Features], Tensor]) -> float:
        """1, the ceiling, where the base's own drawings are like the real ones already: nothing can be said then."""
        base = [self._base[seed] for seed in seeds]
        if not self._is_paired:
            drawings, base = [Features.join(drawings)], [Features.join(base)]
        real = look(self._restored)
        pairs = zip(drawings, base, strict=True)
        shares = [share_of_way(look(one), look(start), real, self._is_paired) for one, start in pairs]
        known = [share for share in shares if share is not None]
        return sum(known) / len(known) if known else 1.0


def _spread(figures: Sequence[Figure]) -> Spread | None:
    shares = [figure.normalised for figure in figures]
    known = [share for share in shares if share is not None]
    return Spread.of(known) if known and len(known) == len(shares) else None
