"""A site and its storage on this machine, a store, a shelf, and one process that reads files for all tests."""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
from site_here import Site

from limner.library.key import VARIABLES
from limner.library.reader import Reader
from limner.library.store import Store


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in (*VARIABLES, "HF_TOKEN", "LIMNER_CIVITAI", "LIMNER_MODELS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def reader() -> Iterator[Reader]:
    """One worker for all: it takes seconds to start."""
    with Reader() as one:
        yield one


@pytest.fixture
def same_reader(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands use the one worker too."""
    monkeypatch.setattr("limner.library.reader.Reader", lambda: nullcontext(reader))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "library.sqlite") as one:
        yield one


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return (tmp_path / "models").resolve()


@pytest.fixture
def sites() -> Iterator[Callable[..., Site]]:
    """sites(host) -> a new Site, by one of this machine's two names: two hosts to a client."""
    made: list[Site] = []

    def make(host: str = "127.0.0.1") -> Site:
        made.append(Site(host))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def site(sites: Callable[..., Site]) -> Site:
    return sites()


@pytest.fixture
def storage(sites: Callable[..., Site]) -> Site:
    """Where the site's downloads are redirected to."""
    return sites("localhost")
