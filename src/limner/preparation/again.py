"""A training of a data set that was prepared for a base of another size: prepared again, where the originals are."""

from collections.abc import Generator, Mapping
from contextlib import closing
from typing import Any

from limner import run
from limner.base.find import resolution_of
from limner.config import Base, PrepareSettings, TrainSettings
from limner.data.layout import DATASET, find_dataset
from limner.events import Event, Warned
from limner.preparation.prepare import preparing, settings_of


def training(
    settings: TrainSettings, tables: Mapping[str, Any], origin: str = "settings", dry: bool = False
) -> Generator[Event, None, None]:
    """As limner.run's train and dry_run, with the data set in the base's size. Raises UserError."""
    settings, request, remark = _fitted(settings)
    events = run.dry_run(settings, tables, origin) if dry else run.train(settings, tables, origin)
    with closing(events):
        yield next(events)  # what the base is; the data set is read after that
        if remark:
            yield Warned(remark)
        if request is not None:
            yield from preparing(request)
        yield from events


def _fitted(settings: TrainSettings) -> tuple[TrainSettings, PrepareSettings | None, str]:
    """The settings in the base's size, what is to be prepared again before, and a sentence about it."""
    unchanged = settings, None, ""
    if settings.images is None or settings.resolution is not None:
        return unchanged
    folder = settings.images.parent if settings.images.name == DATASET else settings.images
    found = settings_of(folder)
    if found is None or not (folder / DATASET).is_file():
        return unchanged
    request, made = found
    if "resolution" in request.model_fields_set or find_dataset(folder).resolution != made:
        return unchanged  # somebody wants it so
    own = resolution_of(settings.base)
    differs = f"{folder} was prepared for {made} pixels, and the base {settings.base} is made for {own}"
    if made > own:
        return settings.model_copy(update={"resolution": own}), None, f"{differs}: it is trained at {own}"
    if made == own or not request.images.exists():
        return unchanged
    now = {name: getattr(settings, name) for name in Base.model_fields}
    again = request.model_copy(update={"out": folder} | now)  # the size follows from the base
    return settings, again, f"{differs}: it is prepared again from {request.images}"
