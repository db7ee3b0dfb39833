"""The captions of the data set: a .txt beside each picture; what a person wrote there stays."""

import hashlib
import json
from collections.abc import Generator, Mapping
from pathlib import Path

from PIL import Image

from limner.captions.caption import Caption, Captions
from limner.captions.own import OwnCaptions
from limner.captions.statistics import is_long, long_sentence
from limner.checking.verdict import Verdict
from limner.config import Captioning, PrepareSettings
from limner.data.colour import to_srgb
from limner.data.decode import Unusable, decode, read
from limner.events import Event, Prepared, Warned
from limner.preparation.choices import NAME, NOTHING, Choice
from limner.preparation.decide import Decision
from limner.preparation.folder import EDITED, Texts
from limner.preparation.layouts import names_of
from limner.preparation.ledger import Ledger

RECIPE = 1
BY_HAND = "by hand"


def describe(
    settings: PrepareSettings,
    verdict: Verdict,
    choices: Mapping[str, Choice],
    captions: Captions,
    ledger: Ledger,
) -> Generator[Event, None, None]:
    """Find the caption of each picture that is kept, unless it is known from an earlier run, and write it."""
    texts, beside = Texts(settings.out, ledger), OwnCaptions()
    long: list[str] = []
    asked = settings.model_dump(mode="json", include=set(Captioning.model_fields))
    for row in ledger.rows():
        decision = Decision.from_dict(row.decision)
        if not decision.kept:
            continue
        names = names_of(row.number, decision.source, settings.format, settings.mask_files == "beside")
        source, facts = verdict.source(row.place), verdict.facts(row.place)
        said = choices.get(source.name, NOTHING).caption
        try:
            own = said or beside.of(source)
        except Unusable as problem:
            own = None
            yield Warned(f"{source.name} {problem}; it is captioned as if there were none")
        edited = texts.edited(names.caption)
        if edited is not None:
            text = " ".join(edited.split())
            ledger.describe(row.number, text, EDITED, "")
            if said is not None:
                yield Warned(_two_ways(settings.out / names.caption))
        else:
            image = ledger.file(names.image)
            key = _key(asked, own, said is not None, facts.sha256, image.sha256 if image else "")
            if row.caption_key == key:
                found = Caption(row.caption, row.origin)
            elif said is not None:
                found = Caption(said, BY_HAND)
            else:
                pixels = _open(settings.out / names.image) if captions.needs_pixels(own) else None
                found = captions.caption(pixels, facts, own)
            text = found.text
            if text:  # an empty file stops sd-scripts
                texts.put(names.caption, text + "\n")
            ledger.describe(row.number, text, found.source, key)
            ledger.commit()
        if is_long(text):
            long.append(names.image)
        yield Prepared(row.place + 1, len(verdict), "captions")
    if long:
        yield Warned(long_sentence(long))
    yield Prepared(len(verdict), len(verdict), "captions")


def _two_ways(path: Path) -> str:
    return f"{path} was edited, so that its caption in {NAME} is not used; remove the file to have it written anew"


def _open(path: Path) -> Image.Image:
    return to_srgb(decode(read(path)))


def _key(*parts: object) -> str:
    return hashlib.sha256(json.dumps([RECIPE, *parts]).encode()).hexdigest()
