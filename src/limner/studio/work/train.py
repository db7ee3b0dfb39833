"""A training, begun or gone on with: `limner train` with what the studio knows."""

from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from limner import run
from limner.base import pocket
from limner.config import ResumeSettings, read_training
from limner.container.header import read_header
from limner.events import Event, Exported, Measured, Preview, UsingBase, Warned
from limner.formats.metadata import run_card
from limner.library.filenames import clean_stem
from limner.run.folder import RunFolder
from limner.studio.control import FINISH
from limner.studio.feed import Milestone
from limner.studio.names import for_the_page
from limner.studio.requests import TrainRequest
from limner.studio.work.placing import Placed, linked, place
from limner.studio.work.prepare import prepared
from limner.studio.work.task import Task

ORIGIN = "the form"
UNNAMED = "subject"


def perform(request: TrainRequest, task: Task) -> Generator[Event | Milestone, None, dict[str, Any]]:
    """The run's folder lies in the job's, and the file that it makes too, until it is put on the shelf under a name
    that is free by then. Raises UserError."""
    folder = RunFolder(task.folder / "run")
    if folder.settings_file.exists():
        events = run.resume(ResumeSettings(run=folder.path, overwrite=True))
    else:
        values = values_of(request, task, folder)
        if request.dataset is not None:
            yield from prepared(request, task)
            values["images"] = linked(values["images"], task.folder / "pictures")
        settings, tables = read_training(values, ORIGIN)
        events = run.train(settings, tables, ORIGIN)
    placed: list[Placed] = []
    picture: Path | None = None
    measured, card = -1, None
    with closing(events):
        for event in events:
            if task.asked == FINISH and not folder.is_to_finish():
                folder.path.mkdir(parents=True, exist_ok=True)
                folder.ask_to_finish()
            match event:
                case Exported() if not event.path.is_relative_to(folder.path):
                    card = run_card(read_header(event.path).metadata)
                    placed.append(place(event.path, event.kind, task, picture, request.replace))
                    yield from _told(event, placed[-1])
                case UsingBase():
                    yield replace(event, base=request.base or pocket.NAME)  # not the place where it lies
                case Warned():
                    yield Warned(for_the_page(event.message, task.places))
                case Measured():
                    yield event
                    if event.step != measured:  # its first figure
                        measured = event.step
                        yield from _drawn(folder, measured)
                case _:
                    picture = event.path if isinstance(event, Preview) else picture
                    yield event
    return {"files": [each.to_dict() for each in placed], "card": card}


def values_of(request: TrainRequest, task: Task, folder: RunFolder) -> dict[str, Any]:
    """The settings of `limner train` that the request means; what the studio decides comes last."""
    stem = clean_stem(request.name or request.keyword, UNNAMED)
    values = dict(request.more) | {
        # what learns from no pictures, as a slider, has no keyword but its name
        "keyword": request.keyword or ("" if request.dataset else stem),
        "class": request.class_word,
        "method": request.method,
        "models": task.places.models,
        "run": folder.path,
        "out": task.folder / "made" / f"{stem}.safetensors",
        "overwrite": True,
    }
    if request.base:
        values["base"] = task.base(request.base)
    if request.dataset is not None:
        values["images"] = task.places.dataset(request.dataset) / "prepared"
    return values


def _told(event: Exported, placed: Placed) -> Iterator[Exported | Warned]:
    if placed.instead_of:
        yield Warned(
            f"{placed.instead_of} is on the shelf already, and stays; this file is {placed.path.name}, "
            f"and prompts call it {placed.path.stem}"
        )
    yield replace(event, path=placed.path)


def _drawn(folder: RunFolder, step: int) -> Iterator[Milestone]:
    """The pictures by which a training judged itself."""
    for path in sorted(folder.milestones.glob(f"{step:06d}-*.png")):
        yield Milestone(step, int(path.stem.rpartition("-")[2]), path)
