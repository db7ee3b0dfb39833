"""Pictures from a prompt, by a model that stays open for the next request."""

from collections.abc import Generator
from typing import Any

from limner.api import load
from limner.base.model import BaseModel
from limner.generate import Request, generate
from limner.run.outputs import prompt_files
from limner.studio.requests import GenerateRequest
from limner.studio.work.save import save
from limner.studio.work.task import Task

MODEL = "model"


def perform(request: GenerateRequest, task: Task) -> Generator[Any, None, dict[str, Any]]:
    """Raises UserError."""
    model = _open(task, request.base)
    values = request.model_dump(exclude={"base"})
    for picture in generate(model, Request(**values), prompt_files(task.places.models)):
        again = request.model_dump(mode="json") | {"seed": picture.seed, "count": 1, "batch_size": 1}
        yield save(task, picture.image, picture.infotext, picture.seed, again)
    return {}


def _open(task: Task, base: str) -> BaseModel:
    """The model, as it was opened for the last request if that was the same."""
    name, model = task.kept.get(MODEL, (None, None))
    if name != base or model is None:
        task.kept.pop(MODEL, None)  # before the next one is opened: two may be too large
        model = load(task.base(base))
        task.kept[MODEL] = base, model
    return model
