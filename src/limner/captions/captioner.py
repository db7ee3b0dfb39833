"""The seam of captioners: what says in words what a picture shows. One file and one entry point each."""

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import ClassVar

from PIL import Image

from limner.checking.facts import Facts
from limner.config import Settings, nearest
from limner.errors import UserError


@dataclass(frozen=True)
class Model:
    """Where a captioner's model is. name: a folder or a hub id, None for the captioner's own choice, if it has one.

    download: whether it may be fetched from the hub.
    """

    name: str | None = None
    download: bool = False


class Captioner(ABC):
    """Says what pictures show. A subclass is one file and one entry point of "limner.captioners".

    Config: the class of its settings. in_workers: whether it can be pickled and used in several processes at once;
    one that holds a network cannot. gives_tags: whether it says tags, of which those that only name the subject are
    left out, rather than a sentence.
    """

    Config: ClassVar[type[Settings]] = Settings
    in_workers: ClassVar[bool] = False
    gives_tags: ClassVar[bool] = False

    def __init__(self, config: Settings, model: Model) -> None:
        """Raises UserError for a model that cannot be opened."""
        self.config = config

    @abstractmethod
    def describe(self, image: Image.Image, facts: Facts) -> list[str]:
        """Tags, or one sentence, on upright sRGB of mode "RGB"; the same for the same picture, whatever went before."""


def captioners() -> list[str]:
    """The names of those that are installed."""
    return sorted(entry.name for entry in entry_points(group="limner.captioners"))


def find_captioner(name: str) -> type[Captioner]:
    """A captioner by its name. Raises UserError if there is none, or if its package cannot be imported."""
    entries = {entry.name: entry for entry in entry_points(group="limner.captioners")}
    if name not in entries:
        near = nearest(name, entries)
        meant = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(entries))}"
        raise UserError(f"no captioner {name!r}; {meant}, or install the package that brings it")
    try:
        return entries[name].load()
    except (ImportError, AttributeError) as error:
        raise UserError(f"the captioner {name} cannot be loaded ({error}); install its package again") from error


def open_captioner(name: str, model: Model, assignments: Iterable[str] = ()) -> Captioner:
    """A captioner, ready. assignments: its own settings as "name=value". Raises UserError."""
    kind = find_captioner(name)
    values = {}
    for text in assignments:
        key, equals, value = text.partition("=")
        if not equals:
            raise UserError(f"--captioner-set {text} will not do: write it as name=value, as in threshold=0.5")
        try:
            values[key.strip().replace("-", "_")] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            values[key.strip().replace("-", "_")] = value.strip()
    return kind(kind.Config.read(values, f"--captioner-set of {name}"), model)
