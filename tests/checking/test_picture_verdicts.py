"""Pictures examined from end to end: in order, each measured once, and what is thought of each."""

import json
import shutil
import sys
from collections.abc import Generator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.checking import duplicates
from limner.checking.compared import Comparing
from limner.checking.examine import examine
from limner.checking.facts import Facts
from limner.checking.findings import Wanted
from limner.checking.measure import Measured, measure
from limner.checking.store import Store, passing_store
from limner.checking.verdict import Verdict
from limner.data.source import Source, find_sources
from limner.events import Warned


def finish(examination: Generator[Facts | Comparing | Warned, None, Verdict]) -> tuple[list[Facts], Verdict]:
    facts = []
    while True:
        try:
            event = next(examination)
            if isinstance(event, Facts):
                facts.append(event)
        except StopIteration as end:
            return facts, end.value


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    (folder / "more").mkdir(parents=True)
    for number, name in enumerate(["a.png", "b.png", "more/c.png"]):
        few = np.random.default_rng(number).integers(0, 256, (12, 12, 3), np.uint8)
        Image.fromarray(few).resize((300, 300), Image.Resampling.NEAREST).save(folder / name)
    shutil.copy(folder / "a.png", folder / "twice.png")
    (folder / "text.png").write_text("not a picture")
    return folder


def test_each_is_told_in_order_and_judged(photos: Path) -> None:
    with passing_store() as store:
        told, verdict = finish(examine(find_sources(photos), Wanted(resolution=256), 1, store))
        judged = list(verdict)
    names = ["a.png", "b.png", "more/c.png", "text.png", "twice.png"]
    assert [facts.name for facts in told] == names == [each.facts.name for each in judged]
    assert [each.source.path for each in judged] == [photos / name for name in names]
    text, twice = judged[3], judged[4]
    assert not text.proposal.keep
    assert "not an image" in text.proposal.reason
    assert [finding.kind for finding in twice.findings][:1] == ["duplicate"]
    assert twice.findings[0].others == ("a.png",)
    assert not twice.proposal.keep
    assert "the same file as a.png" in twice.proposal.reason
    assert "best" in [finding.kind for finding in judged[0].findings]


def test_only_what_is_new_is_measured(photos: Path, tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        examination = examine(find_sources(photos), Wanted(), 1, store)
        next(examination), next(examination)
        examination.close()  # as by Ctrl-C
    measured = []

    def watched(source: Source) -> Measured:
        measured.append(source.name)
        return measure(source)

    with Store(tmp_path / "store") as store:
        store.measure = watched
        told, _ = finish(examine(find_sources(photos), Wanted(), 1, store))
    assert measured == ["more/c.png", "text.png", "twice.png"]
    with passing_store() as store:
        fresh, _ = finish(examine(find_sources(photos), Wanted(), 1, store))
    assert [json.dumps(facts.to_dict()) for facts in told] == [json.dumps(facts.to_dict()) for facts in fresh]


def test_a_zip_is_judged_as_its_folder(photos: Path, tmp_path: Path) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / "all"), "zip", photos))
    with passing_store() as store:
        _, of_folder = finish(examine(find_sources(photos), Wanted(), 1, store))
        first = [(each.facts, each.findings, each.proposal) for each in of_folder]
    with passing_store() as store:
        _, of_zip = finish(examine(find_sources(archive), Wanted(), 1, store))
        second = [(each.facts, each.findings, each.proposal) for each in of_zip]
        assert of_zip[0].source.read() == (photos / "a.png").read_bytes()
    assert [each[1:] for each in first] == [each[1:] for each in second]


def test_of_very_many_pictures_it_is_said_that_hashes_alone_find_copies(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with passing_store() as store:
        assert not warned(store, photos)
    for module in (sys.modules[examine.__module__], duplicates):
        monkeypatch.setattr(module, "MOST_BY_FEATURES", 4)
    monkeypatch.setattr(duplicates, "alike", None)  # is not asked
    with passing_store() as store:
        (said,) = warned(store, photos)
    assert "5 pictures" in said
    assert "above 4 copies are found by their perceptual hashes alone" in said


def warned(store: Store, photos: Path) -> list[str]:
    events = examine(find_sources(photos), Wanted(resolution=256), 1, store)
    return [event.message for event in events if isinstance(event, Warned)]
