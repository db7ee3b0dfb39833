"""A set of pictures looked at: facts, findings, what is proposed of each, and small copies to show."""

import time
from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from limner.base.find import resolution_of
from limner.captions.caption import Caption, Captions
from limner.captions.own import OwnCaptions
from limner.checking.examine import examining
from limner.checking.facts import Facts
from limner.checking.findings import Wanted
from limner.checking.pool import cores
from limner.checking.store import Store
from limner.checking.summary import mark_of
from limner.checking.thumbnail import thumbnail
from limner.checking.verdict import ALL_KINDS, Judged, Verdict
from limner.config import Captioning, PrepareSettings
from limner.data.buckets import buckets
from limner.data.decode import Unusable
from limner.data.source import Source, find_sources
from limner.data.templates import kind_of
from limner.errors import UserError
from limner.events import Event
from limner.files import atomic_path
from limner.preparation.choices import NOTHING
from limner.preparation.decide import Decision, Rules, better_twins, decide
from limner.preparation.masks import masks_beside
from limner.studio.requests import CheckRequest
from limner.studio.sets import PictureSet, number_of
from limner.studio.work.task import Task
from limner.studio.work.unpack import unpack
from limner.studio.work.waiting import alone

THUMBNAIL, VIEW = 320, 1280  # pixels of the longer side
MOST_VIEWS = 2000  # pictures that get a view too: 200 kB each


def perform(request: CheckRequest, task: Task) -> Generator[Event, None, dict[str, Any]]:
    """Writes the set's check.json. Raises UserError."""
    pictures = PictureSet(task.places.dataset(request.dataset))
    if not pictures.folder.is_dir():
        raise UserError(f"there is no set of pictures {request.dataset} any more")
    with (yield from alone(pictures.folder)):
        skipped = yield from unpack(pictures)
        total = len(pictures.sources())
        resolution = request.resolution or resolution_of(task.base(request.base))
        wanted = Wanted(resolution, kind_of(request.class_word), request.method)
        with Store(pictures.facts) as store:
            workers = min(cores(), max(1, total // 4))
            sources = find_sources(pictures.originals)
            verdict = yield from examining(
                sources, wanted, workers, store, total, partial(_keep_copies, pictures, total)
            )
            found = _found(pictures, verdict, request, resolution)
        pictures.keep_checked(found | {"skipped": skipped})
    return {"pictures": total, "kept": sum(bool(each["kept"]) for each in found["pictures"])}


def _keep_copies(pictures: PictureSet, total: int, facts: Facts) -> None:
    """The thumbnail and the view, unless it cannot be read or they are of this very picture already."""
    if facts.problem:
        return
    source = Source(pictures.originals, facts.name)
    number = number_of(source.name)
    small, large = pictures.thumbnail(number), pictures.view(number)
    made_of = small.with_suffix(".sha256")
    if small.exists() and made_of.exists() and made_of.read_text() == facts.sha256:
        return
    image = thumbnail(source, VIEW if total <= MOST_VIEWS else THUMBNAIL)
    if image is None:
        return
    if total <= MOST_VIEWS:
        _save(image, large)
        image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    _save(image, small)
    made_of.write_text(facts.sha256)


def _save(image: Image.Image, path: Path) -> None:
    image.info = {}  # neither EXIF nor profile
    with atomic_path(path) as temporary:
        image.save(temporary, "WEBP", quality=82, method=2)


def _found(pictures: PictureSet, verdict: Verdict, request: CheckRequest, resolution: int) -> dict[str, Any]:
    usual = PrepareSettings.model_fields["most_enlargement"].default
    rules = Rules(frozenset(), frozenset(), buckets(resolution), usual)
    better = better_twins(verdict, pictures.choices(), rules)
    captions = Captions(Captioning(keyword=request.keyword, class_word=request.class_word))
    own = OwnCaptions()
    plain = []
    for at, judged in enumerate(verdict):
        decision = decide(judged, NOTHING, rules, better.get(at))
        plain.append(_plain(judged, decision, _caption(captions, own, judged)))
    return {
        "time": time.time(),
        "asked": request.model_dump(mode="json", by_alias=True),
        "resolution": resolution,
        "remarks": [{"level": each.level, "sentence": each.sentence} for each in verdict.remarks],
        "pictures": plain,
    }


def _caption(captions: Captions, own: OwnCaptions, judged: Judged) -> Caption:
    try:
        beside = own.of(judged.source)
    except Unusable:
        beside = None
    return captions.caption(None, judged.facts, beside)


def _plain(judged: Judged, decision: Decision, caption: Caption) -> dict[str, Any]:
    facts, view = judged.facts, decision.framing
    sides = (facts.width, facts.height) * 2
    source = judged.source
    masks = [place.name for place in masks_beside(source)]
    return {
        "name": facts.name,
        "width": facts.width,
        "height": facts.height,
        "bytes": facts.size,
        "kind": facts.kind,
        "mark": mark_of(judged),
        "findings": [
            {
                "kind": each.kind,
                "level": each.level,
                "title": ALL_KINDS[each.kind].title,
                "sentence": each.sentence,
                "advice": ALL_KINDS[each.kind].advice,
            }
            for each in judged.findings
        ],
        "kept": decision.kept,
        "why": decision.why,
        "crop": [side / whole for side, whole in zip(view.box, sides, strict=True)] if view else None,
        "size": [view.width, view.height] if view else None,
        "lost": round(view.lost, 4) if view else 0.0,
        "caption": caption.text,
        "caption_from": caption.source,
        "mask": masks[0] if masks else "",
    }
