"""Pictures from a prompt, by a model that stays open for the next request."""

import time
from collections.abc import Generator
from typing import Any

from limner.base.model import BaseModel
from limner.generate import Generated, Plan, Request, batches, drawing, make_plan, unfinished
from limner.run.outputs import prompt_files
from limner.studio.control import FINISH, SKIP, unask
from limner.studio.feed import Sampled
from limner.studio.requests import GenerateRequest
from limner.studio.work.save import save
from limner.studio.work.task import Task

SECONDS_BETWEEN_NEWS = 0.25


def perform(request: GenerateRequest, task: Task) -> Generator[Any, None, dict[str, Any]]:
    """Told to skip, it leaves a batch as far as it is and begins the next; told to finish, it ends there. Cancelled,
    it has left what was finished. Raises UserError."""
    model = task.model(request.base)
    wanted = Request(**request.model_dump(exclude={"base"}))
    plan = make_plan(model, wanted, prompt_files(task.places.models))
    for numbers in batches(plan):
        for picture in (yield from _draw(model, plan, numbers, task)):
            again = request.model_dump(mode="json") | {"seed": picture.seed, "count": 1, "batch_size": 1}
            yield save(task, picture.image, picture.infotext, picture.seed, again)
        if task.asked == FINISH:
            break
    return {}


def _draw(model: BaseModel, plan: Plan, numbers: range, task: Task) -> Generator[Sampled, None, list[Generated]]:
    """One batch, or what it is when it shall be left."""
    steps = drawing(model, plan, numbers)
    told = 0.0
    try:
        while True:
            step = next(steps)
            if step.step < step.steps and task.asked in (SKIP, FINISH):
                steps.close()
                if task.asked == SKIP:
                    unask(task.folder)
                return unfinished(model, plan, numbers, step)
            if time.monotonic() - told > SECONDS_BETWEEN_NEWS:
                told = time.monotonic()
                yield Sampled(step.step, step.steps, numbers.start, plan.request.count)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
