"""A studio for all tests of a module that only ask, and parts for those that need one of their own."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from studio.served import BASE, Served

from limner.api import convert
from limner.library.reader import READS
from limner.library.shelf import Stamp
from limner.library.store import Store
from limner.library.worker import describe


@pytest.fixture(scope="session")
def shelf(tiny_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with a tiny random base, to be linked from: checkpoints are large. Beside it an index that knows
    the file, by whatever name: studios that start with a copy need no process that reads it."""
    models = tmp_path_factory.mktemp("shelf") / "models"
    (models / BASE).parent.mkdir(parents=True)
    convert(tiny_folder, models / BASE)
    with Store(models.with_name("library.sqlite")) as store:
        store.put(models, BASE, Stamp.of(models / BASE), READS, describe(models / BASE), None)
    return models


@pytest.fixture(scope="session")
def start_studio(shelf: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Served]]:
    """start_studio(**environment): a studio of its own, with a models folder of its own."""
    started: list[Served] = []

    def start(**environment: str) -> Served:
        root = tmp_path_factory.mktemp("studio")
        models = root / "models"
        (models / BASE).parent.mkdir(parents=True)
        (models / BASE).hardlink_to(shelf / BASE)
        (root / "kept/cache").mkdir(parents=True)
        shutil.copy(shelf.with_name("library.sqlite"), root / "kept/cache")
        started.append(Served(root / "kept", models, **environment))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture(scope="module")
def studio(start_studio: Callable[..., Served]) -> Served:
    return start_studio()
