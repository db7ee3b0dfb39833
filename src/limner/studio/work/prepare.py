"""A set of pictures made into a data set, as the person decided: by itself, or as the first part of a training."""

from collections.abc import Generator
from contextlib import suppress
from typing import Any

from limner.config import PrepareSettings
from limner.data.colour import to_srgb
from limner.data.decode import Unusable, decode, problems
from limner.data.templates import kind_of
from limner.errors import UserError
from limner.evaluate.online import some
from limner.evaluate.photograph import are_photographs
from limner.events import Event
from limner.preparation.prepare import Made, preparing
from limner.run.base import MOST_LOOKED_AT
from limner.studio.requests import CompareRequest, PrepareRequest, TrainRequest
from limner.studio.sets import PictureSet
from limner.studio.work.task import Task
from limner.studio.work.unpack import unpack
from limner.studio.work.waiting import alone

ORIGIN = "the form"
LOOKED_AT = 512  # pixels of the shorter side at which it is told what is a photograph
SHARED = ("resolution", "template")  # what training and preparing both have, and must have alike

Request = PrepareRequest | TrainRequest | CompareRequest


def perform(request: PrepareRequest, task: Task) -> Generator[Event, None, dict[str, Any]]:
    """Raises UserError."""
    made = yield from prepared(request, task)
    plain = made.to_dict()
    return {name: plain[name] for name in ("pictures", "kept", "written", "masks", "enlarged", "lost", "left_out")}


def prepared(request: Request, task: Task) -> Generator[Event, None, Made]:
    """Bring the prepared folder of a request's set up to date: what stands there as it should is not made again.

    Raises UserError, also if no picture is kept.
    """
    assert request.dataset is not None
    pictures = PictureSet(task.places.dataset(request.dataset))
    if not pictures.folder.is_dir():
        raise UserError(f"there is no set of pictures {request.dataset} any more; choose another")
    with (yield from alone(pictures.folder)):
        yield from unpack(pictures)
        if isinstance(request, TrainRequest | CompareRequest) and not request.base:
            _require_drawings(pictures)
        made = yield from preparing(_settings(request, task, pictures))
    if not made.kept:
        raise UserError("no picture of the set is kept; add others, or keep some that were left out")
    return made


def _require_drawings(pictures: PictureSet) -> None:
    """Raise UserError if the set is of photographs: nobody chose a base that could learn them."""
    images = []
    for source in some(list(pictures.sources()), MOST_LOOKED_AT):
        with suppress(Unusable), problems():
            images.append(to_srgb(decode(source.read(), at_least=LOOKED_AT)))
    if are_photographs(images):
        raise UserError(
            "these are photographs, and pocket is a small demo model that only knows simple drawings; choose another "
            "base model (you find some under Models), or choose pocket itself to train on it all the same"
        )


def _settings(
    request: PrepareRequest | TrainRequest | CompareRequest, task: Task, pictures: PictureSet
) -> PrepareSettings:
    if isinstance(request, TrainRequest | CompareRequest):
        values = {name: request.more[name] for name in SHARED if name in request.more} | request.preparing
    else:
        values = dict(request.more)
    return PrepareSettings.read(
        {"subject": kind_of(request.class_word)}
        | values
        | {
            "images": pictures.originals,
            "out": pictures.prepared,
            "keyword": request.keyword,
            "class": request.class_word,
            "base": task.base(request.base),
        },
        ORIGIN,
    )
