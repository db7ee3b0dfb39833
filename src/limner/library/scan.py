"""The index brought up to date with a models folder: new and changed files are read once, vanished ones leave it."""

import os
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

from limner.config import KIND_FOLDERS
from limner.errors import UserError
from limner.library.reader import READS, Reader
from limner.library.shelf import Described, ShelfFile, Stamp
from limner.library.store import Store

PICTURES = (
    ".preview.png",
    ".png",
    ".preview.jpg",
    ".jpg",
    ".jpeg",
    ".preview.webp",
    ".webp",
)  # beside a file, best first
SUFFIXES = (".safetensors", ".pt", ".ckpt", ".bin", ".pth")
SECONDS_A_BATCH = 1.0  # of reading that a kill loses
MOST_DEPTH = 20  # folders in folders


@dataclass(frozen=True)
class Reading:
    """How far the reading of headers is: `name` of `total` new or changed files is next."""

    name: str
    done: int
    total: int


@dataclass(frozen=True)
class PassedOver:
    """What is in the folder and not in the index, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Scanned:
    """The end of a scan, in files."""

    total: int
    read: int
    removed: int


@dataclass(frozen=True)
class Hashing:
    """How far hashing is, in files."""

    name: str
    done: int
    total: int


ScanEvent: TypeAlias = Reading | PassedOver | Scanned


class Describes(Protocol):
    """Whoever can say what a file is."""

    def describe(self, path: Path, /) -> Described: ...


@dataclass(frozen=True)
class _Seen:
    stamp: Stamp
    preview: str | None


def shelf_root(models: Path) -> Path:
    """The models folder, as the index knows it. Raises UserError if there is none."""
    if not models.is_dir():
        raise UserError(f"there is no models folder {models}; make it, or name yours with --models or $LIMNER_MODELS")
    return models.resolve()


def scan(store: Store, root: Path, reader: Reader) -> Generator[ScanEvent, None, None]:
    """Bring the index up to date with the webui's folders of checkpoints, LoRAs and embeddings below `root`, all below
    them included.

    Only headers are read, and only of files whose size, time of change or inode is new; a file that was moved to
    another folder is known there. What was read is kept every second, so that a stopped scan goes on where it was.
    Links that lead out of `root` are not followed, and no link to a folder is. The last event is Scanned.
    """
    seen: dict[str, _Seen] = {}
    for folder in KIND_FOLDERS.values():
        yield from _walk(root, folder, seen)
    known = store.stamps(root)
    news = [name for name, now in seen.items() if known.get(name, (None, 0, None))[:2] != (now.stamp, READS)]
    with store.changing():
        for name, now in seen.items():
            if name in known and known[name][2] != now.preview:
                store.set_preview(root, name, now.preview)
    yield from _read(store, root, reader, news, seen)
    gone = [name for name in known if name not in seen and not _is_there(root, name)]
    with store.changing():
        for name in gone:
            store.remove(root, name)
    yield Scanned(len(seen), len(news), len(gone))


def add(store: Store, root: Path, name: str, reader: Describes) -> ShelfFile:
    """Put one file into the index, without looking for others. Raises UserError if it is not there."""
    path = root / name
    stamp = Stamp.of(path)
    beside = {each.name for each in path.parent.iterdir()}
    with store.changing():
        store.put(root, name, stamp, READS, reader.describe(path), _preview(name, beside))
    found = store.get(root, name)
    assert found is not None
    return found


def hash_files(
    store: Store, root: Path, files: list[ShelfFile], reader: Reader
) -> Generator[Hashing | PassedOver, None, None]:
    """Work out the hashes of files that have none yet, and keep them; reads each whole, once."""
    without = [file for file in files if file.hashes is None and not file.problem]
    for done, file in enumerate(without):
        yield Hashing(file.name, done, len(without))
        try:
            store.set_hashes(root, file.name, file.stamp, reader.hash(file.path))
        except UserError as error:
            yield PassedOver(file.name, str(error))


def _read(store: Store, root: Path, reader: Reader, news: list[str], seen: dict[str, _Seen]) -> Iterator[Reading]:
    held: list[tuple] = []
    since = time.monotonic()
    for done, name in enumerate(news):
        yield Reading(name, done, len(news))
        now = seen[name]
        described = store.described(name, now.stamp, READS) or reader.describe(root / name)
        held.append((root, name, now.stamp, READS, described, now.preview))
        if time.monotonic() - since > SECONDS_A_BATCH or done + 1 == len(news):
            with store.changing():
                for values in held:
                    store.put(*values)
            held, since = [], time.monotonic()


def _walk(root: Path, folder: str, seen: dict[str, _Seen]) -> Iterator[PassedOver]:
    """Fill `seen` with the model files at and below a folder; hidden files and folders are nobody's models."""
    waiting = [folder]
    if not (root / folder).resolve().is_relative_to(root):
        yield PassedOver(folder, "is a link that leads out of the models folder; put the folder itself there")
        return
    while waiting:
        at = waiting.pop()
        try:
            entries = sorted(os.scandir(root / at), key=lambda entry: entry.name)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield PassedOver(at, f"cannot be read: {error.strerror}")
            continue
        names = {entry.name for entry in entries}
        if at != folder and "model_index.json" in names:
            yield PassedOver(
                at,
                "is a model in diffusers' layout; limner train --base and limner generate --base take it by its path",
            )
            continue
        for entry in entries:
            name = f"{at}/{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                if name.count("/") > MOST_DEPTH:
                    yield PassedOver(name, "lies too deep")
                else:
                    waiting.append(name)
            elif entry.name.lower().endswith(SUFFIXES):
                reason = _reason_against(root, entry)
                if reason:
                    yield PassedOver(name, reason)
                else:
                    found = _stamp(entry)
                    if found is not None:
                        seen[name] = _Seen(found, _preview(name, names))
            elif entry.is_symlink() and entry.is_dir():
                yield PassedOver(name, "is a link to a folder, which is not followed; put the folder itself there")


def _reason_against(root: Path, entry: os.DirEntry) -> str:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "has a name that is no text"
    if entry.is_symlink():
        target = Path(entry.path).resolve()
        if not target.is_relative_to(root):
            return "is a link that leads out of the models folder; put the file itself there"
    return "" if entry.is_file() else "is no file"


def _stamp(entry: os.DirEntry) -> Stamp | None:
    try:
        return Stamp.of(Path(entry.path))
    except UserError:
        return None  # gone since the folder was listed


def _is_there(root: Path, name: str) -> bool:
    """Whether a file came while this scan went on, and another process has put it into the index."""
    return (root / name).is_file() and (root / name).resolve().is_relative_to(root)


def _preview(name: str, beside: set[str]) -> str | None:
    folder, _, last = name.rpartition("/")
    stem = last.rpartition(".")[0]
    found = next((stem + ending for ending in PICTURES if stem + ending in beside), None)
    return None if found is None else f"{folder}/{found}"
