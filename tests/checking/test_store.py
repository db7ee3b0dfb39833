"""Facts on disk: what was measured is not measured again, whatever stopped the one that measured it."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from limner.checking.facts import WIDTH, Facts
from limner.checking.measure import Measured
from limner.checking.store import FACTS, FEATURES, Store, passing_store
from limner.data.source import Source, find_sources
from limner.errors import UserError


def pictures(folder: Path, count: int) -> list[Source]:
    folder.mkdir()
    for number in range(count):
        Image.new("RGB", (20, 20), (number, 0, 0)).save(folder / f"{number:03}.png")
    return list(find_sources(folder))


def measured(source: Source, value: int) -> Measured:
    return Measured(Facts(source.name, sha256=f"{value:064x}", width=20), np.full(WIDTH, value % 100, np.int8))


def test_what_was_measured_is_found_again(tmp_path: Path) -> None:
    sources = pictures(tmp_path / "photos", 100)
    with Store(tmp_path / "store") as store:
        rows = [store.add(source, measured(source, number)) for number, source in enumerate(sources)]
        assert store.facts(rows[99]) == measured(sources[99], 99).facts  # not yet on disk
        assert store.facts(rows[3]) == measured(sources[3], 3).facts
    with Store(tmp_path / "store") as store:
        assert [store.find(source) for source in sources] == rows
        assert store.facts(rows[42]) == measured(sources[42], 42).facts
        assert store.features()[:, 7].tolist() == [number % 100 for number in range(100)]


def test_a_picture_that_changed_is_unknown_and_its_newest_facts_count(tmp_path: Path) -> None:
    first, second = pictures(tmp_path / "photos", 2)
    with Store(tmp_path / "store") as store:
        store.add(first, measured(first, 1))
        store.add(second, measured(second, 2))
        store.add(second, measured(second, 3))
    os.utime(first.path, ns=(1, 1))
    with Store(tmp_path / "store") as store:
        assert store.find(first) is None
        assert store.facts(store.find(second) or 0).sha256 == f"{3:064x}"
        store.add(first, measured(first, 4))
    with Store(tmp_path / "store") as store:
        assert store.facts(store.find(first) or 0).sha256 == f"{4:064x}"


def test_a_member_of_a_zip_is_known_until_the_zip_changes(tmp_path: Path) -> None:
    pictures(tmp_path / "photos", 2)
    archive = Path(shutil.make_archive(str(tmp_path / "all"), "zip", tmp_path / "photos"))
    source = next(iter(find_sources(archive)))
    with Store(tmp_path / "store") as store:
        store.add(source, measured(source, 1))
    with Store(tmp_path / "store") as store:
        assert store.find(source) == 0
        os.utime(archive, ns=(1, 1))
        assert store.find(source) is None


@pytest.mark.parametrize("cut", [1, 50, 300])
def test_what_a_kill_left_half_written_is_cut_off(cut: int, tmp_path: Path) -> None:
    sources = pictures(tmp_path / "photos", 5)
    folder = tmp_path / "store"
    with Store(folder) as store:
        for number, source in enumerate(sources):
            store.add(source, measured(source, number))
    os.truncate(folder / FACTS, (folder / FACTS).stat().st_size - cut)
    with Store(folder) as store:
        assert [store.find(source) for source in sources] == [0, 1, 2, 3, None]
        assert store.add(sources[4], measured(sources[4], 9)) == 4
    with Store(folder) as store:
        assert [store.facts(row).sha256 for row in range(5)] == [f"{value:064x}" for value in (0, 1, 2, 3, 9)]
        assert store.features()[:, 0].tolist() == [0, 1, 2, 3, 9]


def test_lines_without_their_features_are_cut_off(tmp_path: Path) -> None:
    sources = pictures(tmp_path / "photos", 3)
    folder = tmp_path / "store"
    with Store(folder) as store:
        for number, source in enumerate(sources):
            store.add(source, measured(source, number))
    os.truncate(folder / FEATURES, 2 * WIDTH + 5)
    with Store(folder) as store:
        assert [store.find(source) for source in sources] == [0, 1, None]
        assert store.features().shape == (2, WIDTH)


def test_a_store_of_other_measurements_begins_anew(tmp_path: Path) -> None:
    (source,) = pictures(tmp_path / "photos", 1)
    folder = tmp_path / "store"
    with Store(folder) as store:
        store.add(source, measured(source, 1))
    lines = (folder / FACTS).read_text().splitlines(keepends=True)
    (folder / FACTS).write_text(lines[0].replace('"measured": ', '"measured": 9') + lines[1])
    with Store(folder) as store:
        assert len(store) == 0
        assert store.find(source) is None


def test_two_at_once_and_a_place_that_cannot_be(tmp_path: Path) -> None:
    with Store(tmp_path / "store"), pytest.raises(UserError, match="another limner"):
        Store(tmp_path / "store")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file is a file; give a folder with --cache$"):
        Store(tmp_path / "file", option="--cache")


def test_a_passing_store_leaves_nothing(tmp_path: Path) -> None:
    (source,) = pictures(tmp_path / "photos", 1)
    with passing_store() as store:
        store.add(source, measured(source, 1))
        folder = store.folder
    assert not folder.exists()
