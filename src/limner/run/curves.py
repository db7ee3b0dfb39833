"""What a run's log says, as charts of curves, for the page, the picture and whoever else draws them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from limner.run import verdict
from limner.run.folder import Log
from limner.run.verdict import Measurement

SMOOTHED_OVER = 25  # steps of the training's own loss, which jumps with each batch's noise
MOST_POINTS = 300  # of a curve


@dataclass(frozen=True)
class Curve:
    """Values by step, rising."""

    name: str
    points: list[tuple[int, float]]


@dataclass(frozen=True)
class Chart:
    """Curves in one unit. note: how to read them. from_zero: whether the axis begins there."""

    title: str
    note: str
    curves: list[Curve]
    from_zero: bool = False


@dataclass(frozen=True)
class Story:
    """A run as far as it got. steps: the most. kept: the step of the best state so far, or of the file."""

    title: str
    step: int
    steps: int
    charts: list[Chart]
    milestones: list[Measurement]
    kept: int | None = None
    ended: str | None = None
    warnings: list[str] = field(default_factory=list)
    measuring_share: float = 0.0


def history_of(log: Log) -> list[Measurement]:
    return [Measurement(line["step"], line["measured"]) for line in log.measurements]


def tell(
    title: str, steps: int, log: Log, keeps_best: bool, ended: str | None = None, kept: int | None = None
) -> Story:
    """The story that a log tells; `ended` and `kept` once the run is over."""
    history = history_of(log)
    best = verdict.best(history) if keeps_best else None
    warned = {kind: said for count in range(len(history), 0, -1) for kind, said in verdict.warnings(history[:count])}
    return Story(
        title=title,
        step=log.lines[-1]["step"] if log.lines else 0,
        steps=steps,
        charts=charts(log),
        milestones=[each for each in history if each.is_milestone],
        kept=kept if kept is not None else best.step if best else None,
        ended=ended,
        warnings=list(warned.values()),
        measuring_share=log.measuring_share,
    )


def charts(log: Log) -> list[Chart]:
    """The charts of which there is anything to show."""
    history = history_of(log)
    found = [
        Chart(
            "Losses",
            "lower is better; once the held-out one rises while the frozen one falls, pictures are learned by heart",
            [
                Curve("training", smoothed([(line["step"], line["loss"]) for line in log.steps])),
                *named(history, {"frozen": "frozen_loss", "held out": "held_out_loss"}),
            ],
        ),
        Chart(
            "Held-out loss by noise",
            "1 is the base's; little noise is texture, much is layout, which is learned by heart first",
            relative(
                named(
                    history,
                    {
                        "little": "held_out_loss_1",
                        "some": "held_out_loss_2",
                        "more": "held_out_loss_3",
                        "much": "held_out_loss_4",
                    },
                )
            ),
        ),
        Chart(
            "Drawn pictures",
            "likeness: 0 is the base, 1 real pictures; prompt fidelity: 1 is the base's; near-copies: share",
            named(
                history,
                {"likeness": "likeness", "prompt fidelity": "prompt_fidelity", "near-copies": "near_copies"},
            ),
            from_zero=True,
        ),
        Chart(
            "Side effects",
            "drift: change of the answers to other prompts; binding: how much more the keyword says than the class",
            named(history, {"drift": "prediction_drift", "binding": "binding"}),
            from_zero=True,
        ),
    ]
    filled = [Chart(each.title, each.note, [c for c in each.curves if c.points], each.from_zero) for each in found]
    return [each for each in filled if each.curves]


def named(history: Sequence[Measurement], names: dict[str, str]) -> list[Curve]:
    """Curves by the names that people read, of figures by theirs."""
    return [
        Curve(shown, [(each.step, each.figures[name]) for each in history if name in each.figures])
        for shown, name in names.items()
    ]


def relative(curves: Sequence[Curve]) -> list[Curve]:
    """Curves in units of their first values, so that a change of any shows."""
    return [
        Curve(curve.name, [(step, value / curve.points[0][1]) for step, value in curve.points])
        for curve in curves
        if curve.points and curve.points[0][1]
    ]


def smoothed(points: Sequence[tuple[int, float]]) -> list[tuple[int, float]]:
    """Means of the last steps before each point, thinned out."""
    apart = max(1, -(-len(points) // MOST_POINTS))
    found = []
    for end in range(len(points), 0, -apart):
        window = [value for _, value in points[max(0, end - SMOOTHED_OVER) : end]]
        found.append((points[end - 1][0], sum(window) / len(window)))
    return found[::-1]


def extent(chart: Chart) -> tuple[float, float]:
    """The values from the lowest to the highest that the chart must show, with room."""
    values = [value for curve in chart.curves for _, value in curve.points if math.isfinite(value)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    low, high = (min(low, 0.0), max(high, 0.1)) if chart.from_zero else (low, high)
    room = 0.05 * (high - low) or 0.05 * abs(high) or 1.0
    return (low if chart.from_zero and low == 0 else low - room), high + room


def ticks(low: float, high: float) -> list[float]:
    """Round values from low to high: at least three."""
    if not high > low:
        return [low]
    size = 10 ** math.floor(math.log10(high - low))
    apart = next(
        step for step in (size, size / 2, size / 5, size / 10) if math.floor(high / step) - math.ceil(low / step) >= 2
    )
    return [number * apart for number in range(math.ceil(low / apart), math.floor(high / apart) + 1)]
