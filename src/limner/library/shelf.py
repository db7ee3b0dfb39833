"""One file on the shelf, and where it came from."""

import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from limner.errors import UserError


@dataclass(frozen=True)
class Origin:
    """Where a file was fetched. source: "civitai" or "hub". id: what `limner download` takes. page: its address for
    people. base: in the source's words. trained_words: what its maker says that prompts call it."""

    source: str
    id: str
    page: str
    title: str
    version: str = ""
    base: str = ""
    trained_words: tuple[str, ...] = ()

    def to_json(self) -> str:
        return json.dumps(asdict(self), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        values = json.loads(text)
        return cls(**(values | {"trained_words": tuple(values["trained_words"])}))


@dataclass(frozen=True)
class Described:
    """What a file's header says. kind: "lora" of all adapters, "embedding", "checkpoint", or what else it looks like;
    "" of a file that cannot be read, whose problem says why. form: of an adapter, such as "dora".

    details: plain values for JSON: readers {program: [whether it loads the file, null if that is not known; what it
    gets wrong]}, alias, title, base_name, tags, ranks, words, prediction_type, refusal, warnings.
    """

    kind: str = ""
    form: str = ""
    family: str = ""
    keyword: str | None = None
    container: str = ""
    problem: str = ""
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hashes:
    """Hex digits: SHA-256 of the whole file, and Civitai's AutoV3, "" of a pickle, which has none."""

    sha256: str
    autov3: str

    @property
    def autov2(self) -> str:
        return self.sha256[:10]


@dataclass(frozen=True)
class Stamp:
    """What changes when a file does; mtime_ns: nanoseconds since 1970."""

    size: int
    mtime_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> Self:
        """Raises UserError if there is no such file."""
        try:
            found = path.stat()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; check its name and permissions") from error
        return cls(found.st_size, found.st_mtime_ns, found.st_ino & (2**63 - 1))  # SQLite's integers have a sign


@dataclass(frozen=True)
class ShelfFile:
    """A file of a models folder. name: its path below `root`, with slashes. preview: a picture beside it, by name.
    hashes: None until they were worked out. origin: None if Limner did not fetch it."""

    root: Path
    name: str
    stamp: Stamp
    kind: str
    form: str
    family: str
    keyword: str | None
    container: str
    problem: str
    preview: str | None
    hashes: Hashes | None
    origin: Origin | None
    details_json: str = field(repr=False)

    @property
    def path(self) -> Path:
        return self.root / self.name

    @property
    def size_bytes(self) -> int:
        return self.stamp.size

    @cached_property
    def details(self) -> dict[str, Any]:
        return json.loads(self.details_json)

    @property
    def readers(self) -> dict[str, str]:
        """{program that loads it: what it gets wrong, "" if nothing}."""
        return {name: says for name, (loads, says) in self.details.get("readers", {}).items() if loads}

    @property
    def keywords(self) -> tuple[str, ...]:
        """What prompts call it: as its maker's page says, else as the file says itself."""
        if self.origin is not None and self.origin.trained_words:
            return self.origin.trained_words
        return () if self.keyword is None else (self.keyword,)

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "file": str(self.path),
            "kind": self.kind,
            "form": self.form,
            "family": self.family,
            "keywords": list(self.keywords),
            "size_bytes": self.size_bytes,
            "container": self.container,
            "problem": self.problem,
            "preview": None if self.preview is None else str(self.root / self.preview),
            "sha256": self.hashes.sha256 if self.hashes else None,
            "autov2": self.hashes.autov2 if self.hashes else None,
            "autov3": self.hashes.autov3 if self.hashes else None,
            "origin": None if self.origin is None else asdict(self.origin),
        } | self.details
