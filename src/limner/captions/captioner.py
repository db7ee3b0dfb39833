"""The seam of captioners: what says in words what a picture shows. One file and one entry point each."""

import tomllib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PIL import Image

from limner.checking.facts import Facts
from limner.config import Settings, nearest
from limner.errors import UserError
from limner.network import Unreachable, once_only
from limner.plugins import PlugIn, load, registered


@dataclass(frozen=True)
class Model:
    """Where a captioner's model is, and where it works. name: a folder or a hub id, None if none is given.

    download: whether it may be fetched from the hub. device: as in the settings.
    """

    name: str | None = None
    download: bool = False
    device: str = "auto"

    def find(self, what: str, files: tuple[str, ...]) -> Path:
        """The folder with the model. files: what is needed of it, as patterns. Raises UserError."""
        if self.name is None:
            raise UserError(f"no model for {what}; give one with --caption-model, a folder or a hub id")
        path = Path(self.name).expanduser()
        if path.is_dir():
            return path
        once_only()
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

        patterns = list(files)
        try:
            return Path(snapshot_download(self.name, allow_patterns=patterns, local_files_only=not self.download))
        except Unreachable as error:
            try:  # what was fetched before does
                return Path(snapshot_download(self.name, allow_patterns=patterns, local_files_only=True))
            except (HFValidationError, OSError):
                raise UserError(f"cannot fetch the model {self.name!r}: {error}") from error
        except (HFValidationError, HfHubHTTPError, OSError) as error:
            if isinstance(error.__cause__ or error, OfflineModeIsEnabled) and self.download:
                raise UserError(
                    f"the model {self.name!r} is not fetched, for HF_HUB_OFFLINE is set; unset it, or give a folder"
                ) from error
            if self.download:
                raise UserError(
                    f"cannot fetch the model {self.name!r} ({_first_line(error)}); check its name"
                ) from error
            raise UserError(
                f"no model {self.name!r}: it is neither a folder nor in the hub's cache on this machine; give a "
                "folder, or fetch it with --download-model"
            ) from error


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


class Captioner(PlugIn, ABC):
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
        """Tags, or one sentence, of upright sRGB of mode "RGB"; the same for the same picture, whatever went before.

        facts: of the whole file, of which the image may be a crop, and of another size.
        """


def captioners() -> list[str]:
    """The names of those that are installed."""
    return sorted(registered("limner.captioners"))


def find_captioner(name: str) -> type[Captioner]:
    """A captioner by its name. Raises UserError if there is none, or if its package cannot be used."""
    entries = registered("limner.captioners")
    if name not in entries:
        near = nearest(name, entries)
        meant = f"did you mean {near!r}?" if near else f"there are {', '.join(sorted(entries))}"
        raise UserError(f"no captioner {name!r}; {meant}, or install the package that brings it")
    return load(entries[name], Captioner)


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
