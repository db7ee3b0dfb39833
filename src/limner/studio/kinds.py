"""What can be asked of a worker: for each kind of job its request, its lane, and the module that does it.

The module is named, not imported, so that the server stays light. It has one function,
`perform(request, task) -> Generator[event, None, dict | None]`, whose return value is the job's result.
"""

import importlib
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from limner.config import Settings
from limner.errors import UserError
from limner.studio.requests import (
    CheckRequest,
    CompareRequest,
    DownloadRequest,
    EmbeddingRequest,
    EnlargeRequest,
    GenerateRequest,
    GridRequest,
    HashRequest,
    KeywordRequest,
    PrepareRequest,
    TrainRequest,
)

Perform = Callable[..., Generator[Any, None, dict[str, Any] | None]]


@dataclass(frozen=True)
class Lane:
    """Jobs that wait for each other. slots: how many run at a time. keeps: whether a worker stays for the next job,
    with the model that it has open. gives_way: whether it rests while a training runs."""

    slots: int = 1
    keeps: bool = False
    gives_way: bool = False


TRAIN = "train"
LANES = {TRAIN: Lane(), "draw": Lane(keeps=True, gives_way=True), "look": Lane(slots=2, keeps=True)}


@dataclass(frozen=True)
class Kind:
    request: type[Settings]
    lane: str
    module: str

    def perform(self) -> Perform:
        """Its function; only a worker asks for it."""
        return importlib.import_module(self.module).perform


KINDS = {
    "check": Kind(CheckRequest, "look", "limner.studio.work.check"),
    "prepare": Kind(PrepareRequest, "look", "limner.studio.work.prepare"),
    "keyword": Kind(KeywordRequest, "draw", "limner.studio.work.keyword"),
    "train": Kind(TrainRequest, "train", "limner.studio.work.train"),
    "compare": Kind(CompareRequest, "train", "limner.studio.work.compare"),
    "dryrun": Kind(TrainRequest, "train", "limner.studio.work.dryrun"),
    "generate": Kind(GenerateRequest, "draw", "limner.studio.work.generate"),
    "grid": Kind(GridRequest, "draw", "limner.studio.work.grid"),
    "embedding": Kind(EmbeddingRequest, "draw", "limner.studio.work.embedding"),
    "enlarge": Kind(EnlargeRequest, "draw", "limner.studio.work.enlarge"),
    "download": Kind(DownloadRequest, "look", "limner.studio.work.download"),
    "hash": Kind(HashRequest, "look", "limner.studio.work.hash"),
}


def find_kind(name: str) -> Kind:
    """Raises UserError."""
    if name not in KINDS:
        raise UserError(f"there is no kind of job {name!r}; there are {', '.join(KINDS)}")
    return KINDS[name]
