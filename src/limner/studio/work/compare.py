"""Several methods taught the same pictures and judged alike: `limner compare` with what the studio knows.

Each training is a process of its own below this one, so that its memory and its end are its own.
"""

import json
import math
import shutil
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any

from limner.compare import Comparison, Happening, Judging, Learning, compare
from limner.compare.entry import Entry
from limner.config import CompareSettings
from limner.events import Event, Prepared, Warned
from limner.files import atomic_path
from limner.generators import retold
from limner.preparation.layouts import IMAGES
from limner.studio.feed import Compared
from limner.studio.names import for_the_page
from limner.studio.places import Places
from limner.studio.requests import CompareRequest
from limner.studio.work.placing import linked
from limner.studio.work.prepare import prepared
from limner.studio.work.task import Task

ORIGIN = "the form"
FOLDER = "comparison"  # in the job's; its report is given out by the routes of runs
BEGUN = "pictures"
DRAWN = "drawn"  # the pictures that the page shows beside the figures
MOST_PROMPTS = 4  # that it shows; the report has all
SHARED = ("seed", "device", "precision", "prediction_type")  # settings of the comparison that its trainings get


def perform(request: CompareRequest, task: Task) -> Generator[Event | Compared, None, dict[str, Any]]:
    """What was begun goes on where it was stopped. Raises UserError."""
    pictures = task.folder / BEGUN
    if not (task.folder / FOLDER).exists():
        yield from prepared(request, task)
        linked(task.places.dataset(request.dataset) / "prepared" / IMAGES, pictures)
    settings = CompareSettings.read(
        {
            "images": pictures,
            "keyword": request.keyword,
            "class": request.class_word,
            "methods": request.methods,
            "minutes": request.minutes,
            "count": request.count,
            "drawing_steps": request.drawing_steps,
            "prompt": request.prompts,
            "train": tuple(_as_options({name: each for name, each in request.more.items() if name not in SHARED})),
            "out": task.folder / FOLDER,
        }
        | ({"base": task.base(request.base)} if request.base else {})
        | {name: each for name, each in request.more.items() if name in SHARED},
        ORIGIN,
    )
    found = yield from retold(compare(settings, quiet=True), _told)
    yield from _shown(found, task.folder / DRAWN)
    shutil.rmtree(task.folder / FOLDER / "pictures", ignore_errors=True)  # the report has those that count
    return {"advice": found.advice, "methods": [_brief(entry, task.places) for entry in found.entries]}


def _told(happening: Happening) -> Prepared | Warned:
    if isinstance(happening, Warned):
        return happening
    if isinstance(happening, Judging):
        progress = happening.progress
        return Prepared(progress.done, progress.total, f"drawing with {happening.state}")
    done, total = (happening.done, happening.total) if isinstance(happening, Learning) else (0, 0)
    return Prepared(done, total, f"training {happening.method}")


def _shown(found: Comparison, folder: Path) -> Iterator[Compared]:
    """The first picture of each of the first prompts, written for the page. The best method's come last, for the latest
    picture stands for the job in lists."""
    entries = {entry.method: entry for entry in found.entries}
    states = sorted(found.drawn, key=lambda state: (entries[state].score or 0.0) if state in entries else -math.inf)
    for column, state in enumerate(states):
        label = entries[state].label if state in entries else state
        for row, prompt in enumerate(found.values["prompts"][:MOST_PROMPTS]):
            path = folder / f"{column}-{row}.png"
            with atomic_path(path) as temporary:
                found.drawn[state][row][0].save(temporary)
            yield Compared(label, prompt, path)


def _as_options(values: Mapping[str, Any], table: str = "") -> Iterator[str]:
    """Settings as --train takes them: name=value, of a method's own table.name=value."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _as_options(value, f"{table}{name}.")
        else:
            yield f"{table}{name}={value if isinstance(value, str) else json.dumps(value)}"


def _brief(entry: Entry, places: Places) -> dict[str, Any]:
    """What the page's table shows."""
    trained = entry.trained
    fidelity = entry.report.fidelity if entry.report else None
    return {
        "method": entry.label,
        "failure": entry.failure and for_the_page(entry.failure, places),
        "measure": entry.report.main[0] if entry.report else None,
        "score": entry.score,
        "deviation": entry.deviation,
        "fidelity_kept": fidelity.kept if fidelity else None,
        "steps": trained.steps if trained else None,
        "seconds": trained.seconds if trained else None,
        "size_bytes": trained.size_bytes if trained else None,
    }
