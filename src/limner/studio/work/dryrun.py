"""A training tried out: what it will take on this machine."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from typing import Any

from limner import run
from limner.base import pocket
from limner.config import read_training
from limner.events import Event, Measured, UsingBase, Warned
from limner.run.folder import RunFolder
from limner.studio.names import for_the_page
from limner.studio.requests import TrainRequest
from limner.studio.work.prepare import prepared
from limner.studio.work.task import Task
from limner.studio.work.train import ORIGIN, values_of

TOLD = ("seconds", "memory_bytes", "device_memory_bytes", "file_bytes")


def perform(request: TrainRequest, task: Task) -> Generator[Event, None, dict[str, Any]]:
    """Raises UserError, as the training would."""
    if request.dataset is not None:
        yield from prepared(request, task)
    settings, tables = read_training(values_of(request, task, RunFolder(task.folder / "run")), ORIGIN)
    told: dict[str, Any] = {"method": request.method, "base": request.base}
    with closing(run.dry_run(settings, tables, ORIGIN)) as events:
        for event in events:
            if isinstance(event, Measured) and event.name in TOLD:
                told[event.name] = event.value
            match event:
                case UsingBase():
                    yield replace(event, base=request.base or pocket.NAME)
                case Warned():
                    yield Warned(for_the_page(event.message, task.places))
                case _:
                    yield event
    return told
