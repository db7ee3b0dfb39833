"""Pictures from a prompt, by a model that stays open for the next request."""

from collections.abc import Generator
from datetime import datetime
from pathlib import Path
from typing import Any

from limner.generate import Request, generate
from limner.infotext import save_png
from limner.run.outputs import prompt_files
from limner.studio.feed import Drawn
from limner.studio.requests import GenerateRequest
from limner.studio.work.task import Task


def perform(request: GenerateRequest, task: Task) -> Generator[Any, None, dict[str, Any]]:
    """Raises UserError."""
    model = task.model(request.base)
    values = request.model_dump(exclude={"base"})
    day = datetime.now().strftime("%Y-%m-%d")  # noqa: DTZ005 (a name for people, in their own time)
    folder = task.places.pictures / day
    for picture in generate(model, Request(**values), prompt_files(task.places.models)):
        path = _free(folder, picture.seed)
        save_png(picture.image, picture.infotext, path)
        yield Drawn(path, picture.seed, picture.infotext)
    return {}


def _free(folder: Path, seed: int) -> Path:
    """A name of its own in a folder: NUMBER-SEED.png, as in the webui."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = [int(path.name.split("-")[0]) for path in folder.glob("[0-9]*-*.png")]
    return folder / f"{max(numbers, default=-1) + 1:05d}-{seed}.png"
