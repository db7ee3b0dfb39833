"""The captions of the data set: a .txt beside each picture; what a person wrote there stays."""

import hashlib
import json
from collections import deque
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from limner.captions.caption import Caption, Captions
from limner.captions.own import OwnCaptions
from limner.captions.statistics import is_long, long_sentence
from limner.checking.facts import Facts
from limner.checking.pool import cores, in_order
from limner.checking.verdict import Verdict
from limner.config import Captioning, PrepareSettings
from limner.data.caption_marks import plain_caption
from limner.data.colour import to_srgb
from limner.data.decode import Unusable, decode, read
from limner.events import Event, Prepared, Warned
from limner.preparation.choices import NAME, NOTHING, Choice
from limner.preparation.decide import Decision
from limner.preparation.folder import EDITED, Texts
from limner.preparation.layouts import Names, names_of
from limner.preparation.ledger import Ledger, Row, plain
from limner.texts import display

RECIPE = 1
BY_HAND = "by hand"
FEW = 200  # pictures to be looked at by one process: starting others takes as long


@dataclass(frozen=True)
class Question:
    """A picture whose caption is to be made. path: of the picture that was written, None if nobody looks at it."""

    path: Path | None
    facts: Facts
    own: str | None


@dataclass(frozen=True)
class Answer:
    """Makes captions, in a worker if they allow it; None for a picture whose caption is known."""

    captions: Captions

    def __call__(self, question: Question | None) -> Caption | None:
        if question is None:
            return None
        pixels = None if question.path is None else to_srgb(decode(read(question.path)))
        return self.captions.caption(pixels, question.facts, question.own)


@dataclass(frozen=True)
class Waiting:
    """A picture on its way. edited: what a person made of its caption's file. known: its caption, if nobody need be
    asked. said: what choices.toml gives it."""

    row: Row
    names: Names
    edited: str | None
    known: Caption | None
    key: str
    said: str | None
    warning: str | None


def describe(
    settings: PrepareSettings,
    verdict: Verdict,
    choices: Mapping[str, Choice],
    captions: Captions,
    ledger: Ledger,
) -> Generator[Event, None, None]:
    """Find the caption of each picture that is kept, unless it is known from an earlier run, and write it."""
    texts = Texts(settings.out, ledger)
    waiting: deque[Waiting] = deque()
    long: list[str] = []
    several = captions.in_workers and captions.looks and len(verdict) > FEW
    workers = (settings.workers or cores()) if several else 1
    beside = OwnCaptions()
    questions = _questions(settings, verdict, choices, captions, texts, beside, waiting)
    for answer in in_order(Answer(captions), questions, workers):
        each = waiting.popleft()
        if each.warning is not None:
            yield Warned(each.warning)
        found = each.known or answer
        if each.edited is not None:
            text = " ".join(each.edited.split())
            ledger.describe(each.row.number, text, EDITED, "")
            if each.said is not None:
                yield Warned(_two_ways(settings.out / each.names.caption))
        else:
            assert found is not None
            text = found.text
            if text:  # an empty file stops sd-scripts
                texts.put(each.names.caption, text + "\n")
            ledger.describe(each.row.number, text, found.source, each.key)
            ledger.commit()
        if is_long(text):
            long.append(each.names.image)
        yield Prepared(each.row.place + 1, len(verdict), "captions")
    if long:
        yield Warned(long_sentence(long))
    yield from map(Warned, beside.marks.remarks())
    yield Prepared(len(verdict), len(verdict), "captions")


def _questions(
    settings: PrepareSettings,
    verdict: Verdict,
    choices: Mapping[str, Choice],
    captions: Captions,
    texts: Texts,
    beside: OwnCaptions,
    waiting: deque[Waiting],
) -> Iterator[Question | None]:
    """What is to be asked of each picture that is kept, None if nothing; the pictures go into `waiting`."""
    asked = settings.model_dump(mode="json", include=set(Captioning.model_fields))
    for row in texts.ledger.rows():
        decision = Decision.from_dict(row.decision)
        if not decision.kept:
            continue
        names = names_of(row.number, decision.source, settings.format, settings.mask_files == "beside")
        source, facts = verdict.source(row.place), verdict.facts(row.place)
        said = choices.get(plain(source.name), NOTHING).caption
        warning = None
        try:
            own = said or beside.of(source)
            own = plain_caption(own, settings.keyword) if own else own
        except Unusable as problem:
            own = None
            warning = f"{display(source.name)} {problem}; it is captioned as if there were none"
        edited = texts.edited(names.caption)
        image = texts.ledger.file(names.image)
        key = _key(asked, own, said is not None, facts.sha256, image.sha256 if image else "")
        known = Caption(row.caption, row.origin) if row.caption_key == key else None
        if said is not None:
            known = known or Caption(said, BY_HAND)
        waiting.append(Waiting(row, names, edited, known, key, said, warning))
        path = settings.out / names.image if captions.needs_pixels(own) else None
        yield None if known or edited is not None else Question(path, facts, own)


def _two_ways(path: Path) -> str:
    return f"{path} was edited, so that its caption in {NAME} is not used; remove the file to have it written anew"


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps([RECIPE, *parts]).encode()).hexdigest()
