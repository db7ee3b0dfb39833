"""What is written about the data set as a whole: for trainers, and for the person who made it."""

import json
from collections.abc import Generator, Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from limner.config import PrepareSettings
from limner.events import Event, Warned
from limner.preparation.choices import NAME, write_choices
from limner.preparation.decide import Decision
from limner.preparation.folder import Texts
from limner.preparation.layouts import (
    DATASET,
    DECISIONS,
    IMAGES,
    MASKED,
    METADATA,
    PAGE,
    Layout,
    dataset_toml,
    masked_toml,
    names_of,
)
from limner.preparation.ledger import Ledger, Row, plain
from limner.preparation.page import page

if TYPE_CHECKING:
    from limner.preparation.prepare import Made


def write_report(
    settings: PrepareSettings, sizes: Sequence[tuple[int, int]], ledger: Ledger, made: "Made"
) -> Generator[Event, None, None]:
    """Write the files that describe the data set. Raises nothing for an edited one: it stays, and a warning says so."""
    texts = Texts(settings.out, ledger)
    lost = 0.0
    for row in ledger.rows():
        decision = Decision.from_dict(row.decision)
        if decision.framing is None:
            made.left_out[decision.because] += 1
            continue
        made.kept += 1
        made.masks += bool(row.mask)
        made.sizes[f"{decision.framing.width}x{decision.framing.height}"] += 1
        made.captions[row.origin] += 1
        made.enlarged += decision.framing.enlargement > 1
        lost += decision.framing.lost
    made.lost = lost / max(1, made.kept)
    layout = Layout(
        settings.keyword,
        settings.class_word,
        settings.repeats,
        settings.side,
        sizes,
        settings.bucket_step,
        class_images=made.of_class > 0,
    )
    files = {DATASET: dataset_toml(layout)}
    if made.masks and settings.mask_files == "folder":
        files[MASKED] = masked_toml(layout)
    for path, text in files.items():
        if not texts.put(path, text):
            yield Warned(f"{settings.out / path} was edited, and stays; remove it to have it written anew")
    texts.put_lines(METADATA, (_line(each) for each in _metadata(settings, ledger)))
    texts.put_lines(DECISIONS, (_line(each) for each in _decisions(settings, ledger)))
    texts.put_lines(PAGE, page(made, lambda: _decisions(settings, ledger)))
    if not (settings.out / NAME).exists():
        write_choices(
            settings.out / NAME, ((plain(str(each["source"])), _words(each)) for each in _decisions(settings, ledger))
        )


def _metadata(settings: PrepareSettings, ledger: Ledger) -> Iterator[dict[str, str]]:
    """As the imagefolder of `datasets` wants it: names from the folder that it lies in."""
    for row, image in _kept(settings, ledger):
        yield {"file_name": str(PurePosixPath(image).relative_to(IMAGES)), "text": row.caption}


def _kept(settings: PrepareSettings, ledger: Ledger) -> Iterator[tuple[Row, str]]:
    for row in ledger.rows():
        if row.decision["kept"]:
            names = names_of(row.number, row.decision["source"], settings.format, settings.mask_files == "beside")
            yield row, names.image


def _decisions(settings: PrepareSettings, ledger: Ledger) -> Iterator[dict[str, object]]:
    """What became of each source, for people and programs."""
    for row in ledger.rows():
        decision = Decision.from_dict(row.decision)
        names = names_of(row.number, decision.source, settings.format, settings.mask_files == "beside")
        told: dict[str, object] = {"source": decision.source, "kept": decision.kept, "because": decision.because}
        told["why"] = decision.why
        told |= {"by_hand": decision.by_hand, "findings": decision.findings, "number": row.number}
        told["source_size"] = [decision.width, decision.height]
        if decision.framing is not None:
            view = decision.framing
            image = ledger.file(names.image)
            told |= {
                "file": names.image,
                "edited": bool(image and image.changed_by_hand(settings.out)),
                "crop": [round(side, 2) for side in view.box],
                "crop_why": view.why,
                "size": [view.width, view.height],
                "lost": round(view.lost, 4),
                "subject_lost": round(view.subject_lost, 4),
                "enlargement": round(view.enlargement, 3),
                "caption": row.caption,
                "caption_from": row.origin,
                "mask": names.mask if row.mask else None,
                "mask_from": row.mask or None,
            }
        yield told


def _words(told: dict[str, object]) -> str:
    if not told["kept"]:
        return f"left out: it {told['why']}"
    return f"kept: {told['why']}; {told['crop_why']}, {told['lost']:.0%} cut away"


def _line(values: dict) -> str:
    return json.dumps(values) + "\n"
