"""The pictures and masks of the data set, written on all cores; what stands as it should be is not written again."""

import hashlib
import json
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from limner.checking.pool import Workers, in_order
from limner.checking.store import stamp_of
from limner.checking.verdict import Verdict
from limner.config import PrepareSettings
from limner.data.source import Source
from limner.errors import UserError
from limner.events import Event, Prepared, Warned
from limner.preparation.choices import NAME, NO_MASK, NOTHING, Choice
from limner.preparation.decide import Decision
from limner.preparation.folder import EDITED, make_way
from limner.preparation.framing import Framing
from limner.preparation.layouts import Names, names_of
from limner.preparation.ledger import Ledger, Record, Row, plain
from limner.preparation.masks import Masks, masks_of
from limner.preparation.write import MOST_BEFORE, Outcome, Task, write, write_white
from limner.texts import display

if TYPE_CHECKING:
    from limner.preparation.prepare import Made

RECIPE = 1  # of how files are made from what was decided; another one writes them anew
MOST_NAMED = 3  # files that are named one by one


def write_pictures(
    settings: PrepareSettings,
    verdict: Verdict,
    choices: Mapping[str, Choice],
    ledger: Ledger,
    workers: int | Workers,
    made: "Made",
) -> Generator[Event, None, None]:
    """Write what is missing or was decided otherwise. What a person changed stays, and is named."""
    waiting: deque[_Work] = deque()
    by_hand: list[str] = []
    works = _works(settings, verdict, choices, ledger, by_hand)

    def tasks() -> Iterator[Task]:
        for work in works:
            waiting.append(work)
            ledger.commit()  # before a file is begun, so that it is known for ours whatever happens
            yield work.task

    total = len(verdict)
    for outcome in in_order(write, tasks(), workers):
        work = waiting.popleft()
        _take(outcome, work, ledger)
        made.written += bool(outcome.records and work.task.image)
        yield Prepared(work.row.place + 1, total, "writing pictures")
        if outcome.problem and work.decision.kept:
            yield Warned(f"{display(work.decision.source)} {outcome.problem}")
    ledger.commit()
    yield Prepared(total, total, "writing pictures")
    for path in by_hand[:MOST_NAMED]:
        yield Warned(f"{settings.out / path} was changed by hand and stays; remove it to have it made anew")
    if len(by_hand) > MOST_NAMED:
        yield Warned(f"{len(by_hand) - MOST_NAMED} more pictures were changed by hand and stay")


@dataclass(frozen=True)
class _Work:
    row: Row
    decision: Decision
    names: Names
    task: Task


def _works(
    settings: PrepareSettings,
    verdict: Verdict,
    choices: Mapping[str, Choice],
    ledger: Ledger,
    by_hand: list[str],
) -> Iterator[_Work]:
    """What there is to write; the paths of what is left because a person changed it go to by_hand."""
    out = settings.out
    masks = masks_of(settings)

    def missing(path: str, key: str) -> bool:
        make_way(out, ledger, path)
        record = ledger.want(path)
        if record.changed_by_hand(out):
            by_hand.append(path)
            return False
        nothing = record.key == key and not record.sha256  # it was found that there is none to write
        return not nothing and not (record.key == key and record.stands(out))

    for row in ledger.rows():
        decision = Decision.from_dict(row.decision)
        source, facts = verdict.source(row.place), verdict.facts(row.place)
        names = names_of(row.number, source.name, settings.format, settings.mask_files == "beside")
        task = Task(out, source, facts.sha256, "", decision.framing, settings.format)
        if row.number <= MOST_BEFORE and not facts.problem and missing(names.before, facts.sha256):
            task = replace(task, before=names.before)
        if decision.kept and decision.framing:
            key = key_of(facts.sha256, view_of(decision.framing), settings.format)
            task = replace(task, key=key, image=names.image if missing(names.image, key) else None)
            said = choices.get(plain(source.name), NOTHING).mask
            path = None if said in (None, NO_MASK) else out / str(said)
            if masks is not None and said != NO_MASK:
                stamp = stamp_of_file(path, source.name) if path else stamp_of_masks(masks, source)
                key = key_of(facts.sha256, view_of(decision.framing), repr(masks), stamp)
                if missing(names.mask, key):
                    task = replace(task, mask=names.mask, mask_key=key, masks=masks, mask_by_hand=path)
            elif row.mask:
                ledger.masked(row.number, "")
        if task.asks:
            yield _Work(row, decision, names, task)


def _take(outcome: Outcome, work: _Work, ledger: Ledger) -> None:
    """Put down what was written of a picture, or why it was not."""
    task = work.task
    for record in outcome.records:
        ledger.wrote(record)
    if outcome.problem:
        why = outcome.problem
        decision = replace(work.decision, kept=False, framing=None, why=why, because="unreadable")
        ledger.decide(work.decision.source, work.row.place, decision.to_dict())
        for path in (work.names.image, work.names.mask, work.names.before):
            ledger.unwant(path)
    elif task.mask:
        ledger.masked(work.row.number, outcome.mask)
        if not outcome.mask:
            ledger.wrote(Record(task.mask, task.mask_key))


def complete_masks(settings: PrepareSettings, ledger: Ledger) -> None:
    """If there is a mask at all, give the other pictures a white one, without which sd-scripts refuses them all.

    White ones of an earlier run belong to the folder no more if there is no other now.
    """
    if settings.mask_files == "none":
        return
    rows = (row for row in ledger.rows() if row.decision["kept"])
    is_any = any(row.mask or _is_painted(settings, row, ledger) for row in rows)
    for row in ledger.rows():
        if not row.decision["kept"] or row.mask:
            continue
        path = _mask_of(settings, row)
        if is_any:
            make_way(settings.out, ledger, path)
        record = ledger.want(path)
        if not is_any:
            ledger.unwant(path)
        elif record.changed_by_hand(settings.out):
            ledger.masked(row.number, EDITED)
        elif not record.stands(settings.out):
            framing = row.decision["framing"]
            ledger.commit()
            ledger.wrote(write_white(settings.out, path, (framing["width"], framing["height"]), record.key))
    ledger.commit()


def _is_painted(settings: PrepareSettings, row: Row, ledger: Ledger) -> bool:
    """Whether a person painted on the white mask of a picture."""
    record = ledger.file(_mask_of(settings, row))
    return record is not None and record.changed_by_hand(settings.out)


def _mask_of(settings: PrepareSettings, row: Row) -> str:
    beside = settings.mask_files == "beside"
    return names_of(row.number, row.decision["source"], settings.format, beside).mask


def key_of(*parts: object) -> str:
    """Of all that a file is made from."""
    return hashlib.sha256(json.dumps([RECIPE, *parts]).encode()).hexdigest()


def view_of(framing: Framing) -> list[float]:
    return [*framing.box, framing.width, framing.height]


def stamp_of_masks(masks: Masks, source: Source) -> str:
    """What changes when a file that may be a picture's mask does. Of a zip's member it changes when the zip does."""
    places = masks.places(source)
    return " ".join(stamp_of(place) if place.archive else stamp_of_file(place.path, source.name) for place in places)


def stamp_of_file(path: Path, picture: str) -> str:
    """What changes when a file that is a picture's mask does. Raises UserError if it is not there."""
    try:
        status = path.stat()
    except OSError as error:
        raise UserError(f"{NAME}: the mask {path} of {picture!r} cannot be read ({error.strerror})") from error
    return f"{plain(str(path))} {status.st_size} {status.st_mtime_ns}"
