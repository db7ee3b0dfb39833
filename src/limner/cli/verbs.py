"""The verbs: each reads its settings, calls the library, tells what happens, and returns what --json prints."""

import time
from collections.abc import Generator
from contextlib import closing
from typing import Annotated, Any

from cyclopts import Parameter

from limner.cli.app import SETTINGS, Interrupted, verb
from limner.cli.follow import Followed, follow
from limner.cli.opening import base_of, say_opening
from limner.cli.options import group
from limner.cli.output import Output, duration, megabytes, quoted
from limner.config import (
    CaptionsSettings,
    CheckSettings,
    CompareSettings,
    CompletionSettings,
    DemoSettings,
    DoctorSettings,
    EvaluateSettings,
    GenerateSettings,
    GridSettings,
    InspectSettings,
    KeywordSettings,
    Learning,
    PrepareSettings,
    ResumeSettings,
    StudioSettings,
    TrainSettings,
    read_training,
)
from limner.errors import UserError, is_out_of_memory, memory_advice
from limner.events import Event

__all__ = ["SETTINGS"]

DryRun = Annotated[
    bool,
    Parameter(
        help="Try some steps, a milestone and a verified save, and predict time and memory.",
        negative="",
        show_default=False,
    ),
]
Rank = Annotated[int | None, Parameter(help="Short for --set METHOD.rank=N.", group=group(Learning.title))]


@verb(DemoSettings)
def demo(settings: DemoSettings, output: Output) -> dict:
    """Teach the built-in base a style from bundled pictures, and show what it learned on one sheet."""
    from limner.cli.show import show_demo

    return show_demo(settings, output)


@verb(CheckSettings, "images")
def check(settings: CheckSettings, output: Output) -> dict:
    """Look at a folder of pictures: what can be used and what cannot and why, what is there twice, what is missing."""
    from limner.cli.check import check_pictures

    return check_pictures(settings, output)


@verb(KeywordSettings, "keyword")
def keyword(settings: KeywordSettings, output: Output) -> dict:
    """Say what a base makes of a keyword: its tokens, what it means to the base already, and emptier ones."""
    say_opening(output, settings.base)
    from limner.cli.keyword import tell

    return tell(settings, output)


@verb(PrepareSettings, "images", "out")
def prepare(settings: PrepareSettings, output: Output) -> dict:
    """Make a data set of a messy folder: the good pictures, cropped, captioned and masked, each decision explained."""
    from limner.cli.prepare import show_prepare

    return show_prepare(settings, output)


@verb(CaptionsSettings, "images")
def captions(settings: CaptionsSettings, output: Output) -> dict:
    """Look at the captions of a folder, and change them together: shown first, written with --write, undone with
    --undo."""
    from limner.cli.captions import show_captions

    return show_captions(settings, output)


@verb(TrainSettings, "images", configurable=True)
def train(values: dict[str, Any], origin: str, output: Output, *, dry_run: DryRun = False, rank: Rank = None) -> dict:
    """Learn a subject or style from a folder of pictures, and write it as a file that other programs load."""
    from limner.methods.settings import in_tables, with_tables

    values = in_tables(with_tables(values, origin), {} if rank is None else {"rank": rank}, origin)
    settings, table = read_training(values, origin)
    say_opening(output, settings.base)
    from limner.preparation.again import training

    events = training(settings, table, origin, dry_run)
    return (_predict if dry_run else _train)(events, output, settings.method)


@verb(TrainSettings, "images", configurable=True)
def dreambooth(
    values: dict[str, Any], origin: str, output: Output, *, dry_run: DryRun = False, rank: Rank = None
) -> dict:
    """Learn a subject with the whole model and pictures of its class: limner train with the method dreambooth."""
    return train({"method": "dreambooth", "prior": "images"} | values, origin, output, dry_run=dry_run, rank=rank)


@verb(ResumeSettings, "run")
def resume(settings: ResumeSettings, output: Output) -> dict:
    """Go on with a training that was stopped, from the state that was saved last."""
    say_opening(output, base_of(settings.run))
    from limner import run

    return _train(run.resume(settings), output)


def _train(events: Generator[Event, None, None], output: Output, method: str = "") -> dict:
    """Follow a training to its end; an interrupt saves the state and names the command that goes on.

    method: "" of a run that is gone on with, whose settings cannot change.
    """
    from limner.device import peak_memory_bytes

    result = Followed()
    began = time.monotonic()
    try:
        with closing(events):
            follow(events, output, result)
    except KeyboardInterrupt:
        if result.run is None:
            raise
        command = f"limner resume {quoted(result.run)}"
        when = f"after step {result.step}, the state is saved" if result.step else "before the first step"
        message = f"interrupted {when}; go on with: {command}"
        raise Interrupted(message, run=str(result.run), step=result.step, resume=command) from None
    except Exception as error:
        _explain_memory(error, method, result)
        raise
    assert result.exported is not None
    path = result.exported.path
    output.say(f"done in {duration(time.monotonic() - began)}; {_use(result)}")
    output.result(str(path))
    return {
        "base": result.base,
        "file": str(path),
        "size_bytes": result.exported.size_bytes,
        "readers": list(result.exported.readers),
        "run": str(result.run),
        "steps": result.done.step if result.done else result.step,
        "most_steps": result.steps,
        "kept_step": result.kept.step if result.kept else None,
        "ended": result.done.reason if result.done else None,
        "measured": result.measured,
        "loss": result.loss,
        "step_seconds": round(result.seconds, 3),
        "seconds": round(time.monotonic() - began, 3),
        "peak_memory_bytes": peak_memory_bytes(),
        "chosen": result.chosen,
        "previews": [str(preview) for preview in result.previews],
        "warnings": result.warnings,
    }


def _explain_memory(error: Exception, method: str, result: Followed) -> None:
    """Raise UserError if memory ran out: what helps, and the command that goes on with a run that has begun."""
    if not is_out_of_memory(error):
        return
    kept = ""
    if result.run is not None:
        when = f"the state after step {result.saved_step}" if result.saved_step else "the run"
        kept = f"; {when} is kept: once there is more memory, go on with limner resume {quoted(result.run)}"
    if method:
        raise UserError(
            f"there is not enough memory for this training; {memory_advice('train', method)}{kept}"
        ) from error
    anew = "" if result.run is None else quoted(result.run / "run.toml")
    raise UserError(
        "there is not enough memory for this training; close other programs, or begin anew with less: "
        f"limner train --config {anew or 'RUN/run.toml'} --batch-size 1 --gradient-checkpointing{kept}"
    ) from error


def _use(result: Followed) -> str:
    """What to do with a finished file: a command, with the base that it belongs to."""
    assert result.exported is not None
    path, kind = result.exported.path, result.exported.kind
    name = result.chosen.get("preview_prompt") or path.stem
    prompt = f"{name} <lora:{path.stem}:1>" if kind == "lora" else str(name)
    base = path if kind == "checkpoint" else result.base
    files = {"lora": f" --lora {quoted(path)}", "embedding": f" --embedding {quoted(path)}"}
    return f"try it: limner generate {quoted(prompt)} --base {quoted(base)}{files.get(kind, '')}"


def _predict(events: Generator[Event, None, None], output: Output, method: str) -> dict:
    result = Followed()
    try:
        with closing(events):
            follow(events, output, result)
    except Exception as error:
        _explain_memory(error, method, result)
        raise
    measured = result.measured
    output.result(
        f"the whole run would take about {duration(measured['seconds'])} and {megabytes(measured['memory_bytes'])} of "
        f"memory, for a file of {megabytes(measured['file_bytes'])}"
    )
    return {"base": result.base, "predicted": measured, "chosen": result.chosen, "warnings": result.warnings}


@verb(GenerateSettings, "prompt")
def generate(settings: GenerateSettings, output: Output) -> dict:
    """Make pictures from a prompt in the webui's grammar, as in "a fox, zvq style <lora:zvq:0.8>"."""
    say_opening(output, settings.base)
    from limner.cli.pictures import draw

    return draw(settings, output)


@verb(GridSettings, "prompt")
def grid(settings: GridSettings, output: Output) -> dict:
    """Draw a prompt in a table in which two or three things change: seeds, weights, samplers, files, words."""
    say_opening(output, settings.base)
    from limner.cli.pictures import draw_grid

    return draw_grid(settings, output)


@verb(EvaluateSettings, "file")
def evaluate(settings: EvaluateSettings, output: Output) -> dict:
    """Measure a file: likeness and style against real pictures, prompt fidelity, drift, copies."""
    say_opening(output, settings.base)
    say_opening(output, settings.file, doing="judging")
    from limner.cli.judge import judge

    return judge(settings, output)


@verb(CompareSettings, "images")
def compare(settings: CompareSettings, output: Output) -> dict:
    """Teach the same pictures by several methods, judge all alike, and say which to take: report.html."""
    say_opening(output, settings.base, doing="comparing methods on")
    from limner.cli.judge import compare_methods

    return compare_methods(settings, output)


@verb(StudioSettings)
def studio(settings: StudioSettings, output: Output) -> dict:
    """Open the studio: a page in the browser for all of this, and the webui's API for other programs."""
    from limner.cli.studio import run_studio

    return run_studio(settings, output)


@verb(InspectSettings, "file", "other", rename="inspect")
def inspect_(settings: InspectSettings, output: Output) -> dict:
    """Say what a file, picture or folder is, what made it, and which programs load it; or how two of them differ."""
    say_opening(output, settings.file, settings.other, doing="reading")
    if settings.other is not None:
        from limner.cli.difference import show_difference

        return show_difference(settings.file, settings.other, output)
    from limner.cli.facts import show

    return show(settings.file, output)


@verb(DoctorSettings)
def doctor(settings: DoctorSettings, output: Output) -> dict:
    """Look at this machine, from Python and PyTorch to the disk, and say what is missing and what to run."""
    from limner.cli.doctor import show_doctor

    return show_doctor(settings, output)


@verb(CompletionSettings, "shell")
def completion(settings: CompletionSettings, output: Output) -> dict:
    """Complete limner's commands and options by the Tab key: print the shell's script, or install it with --install."""
    from limner.cli.completion import show_completion

    return show_completion(settings, output)


from limner.cli import edit, library  # noqa: E402, F401 (behind these, in the order of the work)
