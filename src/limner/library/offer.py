"""What a model site offers, in one form for all sites; and what happens on the way, as events."""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from limner.library.shelf import Origin

SUCCESS, DANGER = "Success", "Danger"  # Civitai's words for a scan's result; the others are not verified


@dataclass(frozen=True)
class OfferedFile:
    """A file of a model. Whatever the site does not say is None or "".

    format: "safetensors", "pickle" or another in the site's word. part: "Model", "Pruned Model", "VAE", "Training Data"
    and so on, as Civitai has it. scans: {scan: its result}. url: where it is fetched, no secret.
    """

    name: str
    url: str
    key: str = ""
    size_bytes: int | None = None
    sha256: str | None = None
    format: str = ""
    precision: str = ""
    part: str = "Model"
    is_main: bool = False
    scans: dict[str, str] = field(default_factory=dict)
    scan_message: str = ""


@dataclass(frozen=True)
class Offer:
    """A version of a model, or a file that is here already.

    source: "local", "civitai" or "hub". id: what `limner download` takes. kind: "checkpoint", "lora", "embedding", or
    the site's word. family: "sd1", "sd2", "sdxl", "" if it is none of these or not said; base: the site's word for it.
    published: a date, as in 2026-11-24. files: empty where the site tells them only on asking for the one model.
    here: the file on the shelf that is one of these, by its SHA-256.
    """

    source: str
    id: str
    title: str
    kind: str
    page: str = ""
    version: str = ""
    family: str = ""
    base: str = ""
    keywords: tuple[str, ...] = ()
    downloads: int | None = None
    likes: int | None = None
    published: str = ""
    creator: str = ""
    remark: str = ""
    files: tuple[OfferedFile, ...] = ()
    here: Path | None = None

    @property
    def main(self) -> OfferedFile | None:
        """The file that is meant by the model: of its weights the main one, in safetensors if there is one so."""
        weights = [file for file in self.files if file.part in ("Model", "Pruned Model")]
        order = sorted(weights, key=lambda file: (file.format != "safetensors", not file.is_main, file.part != "Model"))
        return order[0] if order else None

    @property
    def origin(self) -> Origin:
        return Origin(self.source, self.id, self.page, self.title, self.version, self.base, self.keywords)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self) | {"here": None if self.here is None else str(self.here)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The inverse, but for `here`."""
        files = tuple(OfferedFile(**file) for file in values["files"])
        return cls(**(values | {"files": files, "keywords": tuple(values["keywords"]), "here": None}))

    def with_here(self, path: Path | None) -> Self:
        return replace(self, here=path)


@dataclass(frozen=True)
class Waiting:
    """A site asked for patience, or did not answer: the next attempt is in so many seconds."""

    host: str
    seconds: float
    reason: str


@dataclass(frozen=True)
class Asking:
    """A source is asked from now on, which can take a while."""

    source: str


@dataclass(frozen=True)
class Found:
    """A row of a search's result."""

    offer: Offer


@dataclass(frozen=True)
class Failed:
    """A source that gave no answer, and why; the others go on."""

    source: str
    reason: str


@dataclass(frozen=True)
class Told:
    """Something that a person should know."""

    message: str


@dataclass(frozen=True)
class Chosen:
    """What is about to be fetched."""

    offer: Offer
    file: OfferedFile


@dataclass(frozen=True)
class Progress:
    """Bytes on disk, of all; total is None where the site does not say."""

    done: int
    total: int | None


@dataclass(frozen=True)
class Fetched:
    """The end of a download. was_here: whether the file was on the shelf before."""

    path: Path
    sha256: str
    kind: str
    was_here: bool
    origin: Origin
