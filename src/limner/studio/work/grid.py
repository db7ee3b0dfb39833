"""A grid: pictures that differ along two or three directions, labelled on one page."""

import csv
import io
import re
from collections.abc import Generator
from typing import Any

from limner.config import Drawing, GridSettings
from limner.errors import UserError
from limner.events import Warned
from limner.generate import RANDOM_SEED
from limner.grid import WORDS, check_cells, common_infotext, compose, draw_cells, plan_cells, read_axes
from limner.prompt import parse_prompt
from limner.run.outputs import prompt_files
from limner.studio.feed import Sampled
from limner.studio.names import for_the_page
from limner.studio.requests import GridAxis, GridRequest
from limner.studio.work.save import save
from limner.studio.work.task import Task

AXES = ("the columns", "the rows", "the tables")
WEIGHT = "weight"


def perform(request: GridRequest, task: Task) -> Generator[Any, None, dict[str, Any]]:
    """Cancelled, it leaves nothing. Raises UserError."""
    settings = _settings(request)
    axes = read_axes(settings, AXES)
    cells = plan_cells(settings, axes)
    files = prompt_files(task.places.models)
    check_cells(cells, files)
    places = {cell.base: task.base(cell.base) for cell in cells}  # all are found before the first is drawn
    drawn = []
    warned: set[str] = set()
    yield Sampled(0, 1, 0, len(cells))
    for each in draw_cells(cells, files, task.model):
        drawn.append(each)
        yield from (Warned(for_the_page(message, task.places)) for message in each.warnings if message not in warned)
        warned.update(each.warnings)
        yield Sampled(0, 1, len(drawn), len(cells))
    seed = min(each.cell.request.seed for each in drawn)
    again = request.model_dump(mode="json", by_alias=True)
    if request.seed == RANDOM_SEED:
        again["seed"] = seed
    yield save(task, compose(drawn, axes), common_infotext(settings, drawn, axes), seed, again, kind="grid")
    return {"pictures": len(drawn), "bases": len(places)}


def _settings(request: GridRequest) -> GridSettings:
    """The same of `limner grid`, whose prompt says {words} and {weight} where those change. Raises UserError."""
    given = [(axis, title) for axis, title in zip((request.x, request.y, request.z), AXES, strict=True) if axis]
    texts = {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
    for axis, title in given:
        if axis.name == WORDS:
            texts = _with_words(texts, axis.values[0], title)
        elif axis.name == WEIGHT:
            texts["prompt"] = _with_weight(texts["prompt"], axis.lora)
    values = request.model_dump(include=set(Drawing.model_fields)) | texts
    if request.hires is not None:
        values |= {f"hires_{name}": value for name, value in request.hires.model_dump().items()}
    lines = {letter: _text(axis) for letter, axis in zip("xyz", (request.x, request.y, request.z), strict=True) if axis}
    return GridSettings.read(values | {"base": request.base} | lines, "the grid")


def _with_words(texts: dict[str, str], first: str, title: str) -> dict[str, str]:
    if not any(first in text for text in texts.values()):
        raise UserError(f"the prompt does not say {first!r}; the first of {title} is what the others stand for")
    return {name: text.replace(first, f"{{{WORDS}}}") for name, text in texts.items()}


def _with_weight(prompt: str, lora: str) -> str:
    tags = parse_prompt(prompt).loras
    name = lora or (tags[0].name if tags else "")
    if name not in [tag.name for tag in tags]:
        raise UserError(f"the prompt has no <lora:{name or 'name:1'}>, so there is no weight to change; put it there")
    return re.sub(rf"<(lora|lyco):{re.escape(name)}(:[^>]*)?>", lambda tag: f"<{tag[1]}:{name}:{{{WEIGHT}}}>", prompt)


def _text(axis: GridAxis) -> str:
    """As `limner grid` takes it."""
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="").writerow(axis.values)
    return f"{axis.name}={line.getvalue()}"
