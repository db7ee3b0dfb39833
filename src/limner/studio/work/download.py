"""A model fetched onto the shelf: `limner download`, watched by the page."""

import shutil
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from limner.library.choose import Refused, Terms
from limner.library.civitai import Civitai
from limner.library.download import DownloadEvent, Shelf, download, part_folder
from limner.library.hub import Hub
from limner.library.offer import Chosen, Fetched, Progress
from limner.library.reader import Reader
from limner.library.scan import Scanned, scan
from limner.library.store import Store
from limner.studio.control import CANCEL
from limner.studio.requests import DownloadRequest
from limner.studio.work.task import Task

SECONDS_BETWEEN = 0.5  # reports of progress in the feed


@dataclass(frozen=True)
class Choosing:
    """What is about to be fetched, in short."""

    title: str
    version: str
    kind: str
    name: str
    size_bytes: int | None


@dataclass(frozen=True)
class NotAgreed:
    """It is not fetched on these terms. agree: the setting to which a person may agree, "" where one of `files` is to
    be named."""

    reason: str
    agree: str
    files: tuple[str, ...]


def perform(request: DownloadRequest, task: Task) -> Generator[Any, None, dict[str, Any]]:
    """Raises UserError. What came of a paused download stays; of a cancelled one nothing does."""
    task.places.models.mkdir(parents=True, exist_ok=True)
    root = task.places.models.resolve()
    with Store() as store, Reader() as reader:
        for event in scan(store, root, reader):  # what is here already is not fetched
            if not isinstance(event, Scanned):
                yield event
        shelf = Shelf(root, store, reader)
        terms = Terms(request.file, request.pickle, request.unverified, int(request.max_gb * 1e9))
        try:
            end = yield from _followed(download(request.id, shelf, Civitai(store), Hub(), terms), shelf, task)
        except Refused as refusal:
            yield NotAgreed(refusal.reason, refusal.agree, refusal.files)
            raise
        file = store.get(root, end.path.relative_to(root).as_posix())
    keywords = () if file is None else file.keywords
    name = end.path.relative_to(root).as_posix()
    return {"name": name, "kind": end.kind, "was_here": end.was_here, "keywords": list(keywords)}


def _followed(events: Generator[DownloadEvent, None, None], shelf: Shelf, task: Task) -> Generator[Any, None, Fetched]:
    """The download's events, not all of its progress; and its last one."""
    told, chosen, end = 0.0, None, None
    try:
        for event in events:
            now = time.monotonic()
            if isinstance(event, Chosen):
                chosen, offer, file = event, event.offer, event.file
                yield Choosing(offer.title, offer.version, offer.kind, file.name, file.size_bytes)
            elif isinstance(event, Fetched):
                end = event
            elif not isinstance(event, Progress) or now - told > SECONDS_BETWEEN or event.done == event.total:
                told = now
                yield event
    finally:
        events.close()
        if chosen is not None and task.asked == CANCEL:
            shutil.rmtree(part_folder(shelf.root, chosen.offer, chosen.file), ignore_errors=True)
    assert end is not None
    return end
