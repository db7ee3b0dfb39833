"""A training's events as a person follows them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from limner.cli.output import Bar, Output, megabytes
from limner.events import (
    Chosen,
    Done,
    Event,
    Exported,
    Kept,
    Measured,
    Prepared,
    Preview,
    Saved,
    Started,
    Step,
    UsingBase,
    Warned,
)

SMOOTHING = 0.95  # of the loss that is shown: single ones jump


@dataclass
class Followed:
    """What a run came to, as far as it got."""

    base: str = ""
    run: Path | None = None
    step: int = 0
    steps: int = 0
    saved_step: int = 0
    loss: float | None = None
    seconds: float = 0.0
    chosen: dict[str, object] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    previews: list[Path] = field(default_factory=list)
    measured: dict[str, float] = field(default_factory=dict)
    exported: Exported | None = None
    kept: Kept | None = None
    done: Done | None = None


def follow(events: Iterable[Event], output: Output, result: Followed) -> None:
    """Show the events as they come, and keep in `result` what they say."""
    bar: Bar | None = None
    figures: dict[str, float] = {}  # of the state that is being measured
    try:
        for event in events:
            if isinstance(event, Prepared):
                if bar is not None and bar.what != event.what:
                    bar.close()
                    bar = None
                bar = bar or Bar(output, event.what, event.total)
                bar.at(event.done)
                continue
            if bar is not None and (bar.what != "step" or isinstance(event, Exported)):
                bar.close()
                bar = None
            if isinstance(event, Measured):
                figures[event.name] = event.value
            elif figures:
                _tell_milestone(result.step, figures, output)
                figures = {}
            if isinstance(event, Step):
                bar = bar or Bar(output, "step", result.steps or event.step)
                _count(event, result)
                bar.at(event.step, f"loss {result.loss:.4f}")
            else:
                _tell(event, output, result)
    finally:
        if bar is not None:
            bar.close()


def _tell_milestone(step: int, figures: dict[str, float], output: Output) -> None:
    """What was measured of the state after a step, if pictures were drawn for it."""
    from limner.run.verdict import in_words  # here, for the command line's help need not wait for torch

    if "near_copies" in figures:
        output.say(f"step {step}: {in_words(figures)}")


def _count(step: Step, result: Followed) -> None:
    result.step = step.step
    result.seconds += step.seconds
    result.loss = step.loss if result.loss is None else SMOOTHING * result.loss + (1 - SMOOTHING) * step.loss


def _tell(event: Event, output: Output, result: Followed) -> None:
    match event:
        case UsingBase(base):  # the command has said it
            result.base = base
        case Chosen(name, value, reason):
            result.chosen[name] = value
            output.say(f"{name} = {value}: {reason}")
        case Started(folder, steps):
            result.run, result.steps = folder, steps
            output.say(f"run folder: {folder}")
        case Warned(message):
            result.warnings.append(message)
            output.warn(message)
        case Saved(step):
            result.saved_step = step
        case Preview(_, _, path):
            result.previews.append(path)
            output.say(f"preview: {path}")
        case Measured(_, name, value):
            result.measured[name] = value
        case Exported(path, size, readers, _):
            result.exported = event
            output.say(f"{path.name}: {megabytes(size)}, verified for {', '.join(readers) or 'Limner alone'}")
        case Kept(step, reason):
            result.kept = event
            output.say(f"the file is the state after step {step}: {reason}")
        case Done(_, reason):
            result.done = event
            output.say(reason)
        case _:
            pass
