"""Pictures from a prompt, by a model that stays open for the next request."""

import time
import weakref
from collections.abc import Generator
from typing import Any

from PIL import Image

from limner.base.model import BaseModel
from limner.data.decode import picture_at
from limner.events import Warned
from limner.files import atomic_path
from limner.generate import Denoised, Generated, Hires, Init, Plan, Request, batches, drawing, make_plan, unfinished
from limner.generate.preview import Previewer
from limner.generate.read import OF_THE_REQUEST
from limner.infotext import save_png
from limner.run.outputs import prompt_files
from limner.studio.control import FINISH, SKIP, unask
from limner.studio.feed import PREVIEW, Drawn, Sampled
from limner.studio.inputs import input_path
from limner.studio.names import for_the_page
from limner.studio.places import Places
from limner.studio.requests import GenerateRequest
from limner.studio.work.save import free_name, save
from limner.studio.work.task import Task

SECONDS_BETWEEN_NEWS = 0.25
SECONDS_BETWEEN_PREVIEWS = 1.0
PREVIEWER = "previewer"  # what is kept under this name: (the model, what shows its latents)
ENLARGED = 4


def perform(request: GenerateRequest, task: Task) -> Generator[Any, None, dict[str, Any]]:
    """Told to skip, it leaves a batch as far as it is and begins the next; told to finish, it ends there. Cancelled,
    it has left what was finished. Raises UserError."""
    wanted = _request(request, task.places)
    model = task.model(request.base)
    plan = make_plan(model, wanted, prompt_files(task.places.models))
    yield from (Warned(for_the_page(message, task.places)) for message in (*model.warnings, *plan.remarks))
    for numbers in batches(plan):
        pictures = yield from _draw(model, plan, numbers, task)
        for place, (number, picture) in enumerate(zip(numbers, pictures, strict=True)):
            yield _saved(_alone(request, picture.seed, plan.subseed_of(number), place), task, picture)
        if task.asked == FINISH:
            break
    return {"seed": plan.request.seed, "subseed": plan.request.subseed, "width": plan.width, "height": plan.height}


def _show(model: BaseModel, step: Denoised, task: Task) -> None:
    """Let who asks see how far the first picture of the batch is."""
    fitted, previewer = task.kept.get(PREVIEWER, (None, None))
    if fitted is None or fitted() is not model:
        previewer = Previewer.of(model)
        task.kept[PREVIEWER] = weakref.ref(model), previewer  # which lets the model go when another base is opened
    small = previewer(step.latents[0])
    image = small.resize((small.width * ENLARGED, small.height * ENLARGED), Image.Resampling.BICUBIC)
    with atomic_path(task.folder / PREVIEW) as temporary:
        image.save(temporary, "PNG")


def _request(request: GenerateRequest, places: Places) -> Request:
    """The library's request; the pictures that it starts from are opened. Raises UserError."""
    values = request.model_dump(include=set(OF_THE_REQUEST))
    if request.hires is not None:
        values["hires"] = Hires(**request.hires.model_dump())
    if request.init is None:
        return Request(**values)

    def opened(name: str) -> Image.Image:
        return picture_at(input_path(places, name), "the picture to start from, or its mask,")

    of_init = request.init.model_dump(exclude={"images", "mask"})
    mask = None if request.init.mask is None else opened(request.init.mask)
    return Request(**values, init=Init(tuple(map(opened, request.init.images)), mask=mask, **of_init))


def _alone(request: GenerateRequest, seed: int, subseed: int, place: int) -> GenerateRequest:
    """What gives one picture again. place: in its batch, from 0, which is told by what it starts from."""
    init = request.init
    if init is not None:
        init = init.model_copy(update={"images": (init.images[place % len(init.images)],)})
    own = {"seed": seed, "subseed": subseed, "count": 1, "batch_size": 1, "init": init}
    return request.model_copy(update=own)


def _saved(again: GenerateRequest, task: Task, picture: Generated) -> Drawn:
    if again.keep:
        return save(task, picture.image, picture.infotext, picture.seed, again.model_dump(mode="json"))
    path = free_name(task.folder / "pictures", picture.seed)
    save_png(picture.image, picture.infotext, path)
    return Drawn(path, picture.seed, picture.infotext)


def _draw(model: BaseModel, plan: Plan, numbers: range, task: Task) -> Generator[Sampled, None, list[Generated]]:
    """One batch, or what it is when it shall be left."""
    steps = drawing(model, plan, numbers)
    told, shown = 0.0, time.monotonic()
    try:
        while True:
            step = next(steps)
            if step.step < step.steps and task.asked in (SKIP, FINISH):
                steps.close()
                unask(task.folder, SKIP)
                return unfinished(model, plan, numbers, step)
            now = time.monotonic()
            if now - shown > SECONDS_BETWEEN_PREVIEWS:
                _show(model, step, task)
                shown = time.monotonic()
            if now - told > SECONDS_BETWEEN_NEWS:
                told = now
                yield Sampled(step.step, step.steps, numbers.start, plan.request.count)
    except StopIteration as end:
        return end.value
    finally:
        steps.close()
