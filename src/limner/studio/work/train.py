"""A training, begun or gone on with: `limner train` with what the studio knows."""

from collections.abc import Generator
from typing import Any

from limner import run
from limner.config import KIND_FOLDERS, ResumeSettings, read_training
from limner.events import Event, Exported
from limner.library.filenames import clean_stem
from limner.methods.method import find_methods
from limner.run.folder import RunFolder
from limner.studio.control import FINISH
from limner.studio.requests import TrainRequest
from limner.studio.work.prepare import prepared
from limner.studio.work.task import Task

ORIGIN = "the form"


def perform(request: TrainRequest, task: Task) -> Generator[Event, None, dict[str, Any]]:
    """The run's folder lies in the job's; its file goes on the shelf, in its kind's folder. Raises UserError."""
    folder = RunFolder(task.folder / "run")
    if folder.settings_file.exists():
        events = run.resume(ResumeSettings(run=folder.path, overwrite=True))
    else:
        if request.dataset is not None:
            yield from prepared(request, task)
        settings, tables = read_training(values_of(request, task, folder), ORIGIN)
        events = run.train(settings, tables, ORIGIN)
    exported: list[Exported] = []
    try:
        for event in events:
            if task.asked == FINISH:
                folder.ask_to_finish()
            if isinstance(event, Exported):
                exported.append(event)
            yield event
    finally:
        events.close()
    files = [{"path": str(each.path), "kind": each.kind, "size_bytes": each.size_bytes} for each in exported]
    return {"files": files}


def values_of(request: TrainRequest, task: Task, folder: RunFolder) -> dict[str, Any]:
    """The settings of `limner train` that the request means; what the studio decides comes last."""
    values = dict(request.more) | {
        "keyword": request.keyword,
        "class": request.class_word,
        "method": request.method,
        "base": task.base(request.base),
        "models": task.places.models,
        "run": folder.path,
    }
    if request.dataset is not None:
        values["images"] = task.places.dataset(request.dataset) / "prepared"
    if request.name:
        kind = [method.kind for method in find_methods(request.method).values()][-1]
        stem = clean_stem(request.name, request.keyword)
        values["out"] = task.places.models / KIND_FOLDERS[kind] / f"{stem}.safetensors"
    return values
