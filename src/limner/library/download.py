"""A model brought to the shelf: chosen, checked before and after, and put where the webui looks for its kind."""

import re
import shutil
from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from limner.config import KIND_FOLDERS
from limner.errors import UserError
from limner.files import locked, sha256_file
from limner.library.choose import Refused, Terms, choose
from limner.library.civitai import Civitai, explained
from limner.library.fetch import Expected, Fetch, FetchEvent
from limner.library.filenames import clean_stem
from limner.library.hub import Hub
from limner.library.ids import find_offer
from limner.library.offer import Chosen, Fetched, Offer, OfferedFile, Told
from limner.library.reader import Reader
from limner.library.scan import add
from limner.library.shelf import Described, Hashes, ShelfFile
from limner.library.store import Store
from limner.library.web import Status, Web
from limner.temporary import take_name

STAGING = ".downloads"  # in the models folder, hidden, so that nobody takes a part for a model
PICKLES = {"checkpoint": ".ckpt", "lora": ".pt", "embedding": ".pt"}
DownloadEvent: TypeAlias = FetchEvent | Chosen | Fetched


@dataclass(frozen=True)
class Shelf:
    """Where to put files: a models folder, its index, and who reads what was fetched."""

    root: Path
    store: Store
    reader: Reader


def download(id: str, shelf: Shelf, civitai: Civitai, hub: Hub, terms: Terms) -> Generator[DownloadEvent, None, None]:
    """Fetch the model that an id names, as `fetch_offer` does, from the site that has it."""
    offer, named = yield from find_offer(id, civitai, hub)
    terms = replace(terms, file=terms.file or named)
    yield Chosen(offer, choose(offer, terms))
    if offer.source == "civitai":
        has_key = civitai.web.has_key
        yield from fetch_offer(shelf, civitai.web, offer, terms, lambda status: explained(status, has_key))
    else:
        yield from fetch_offer(shelf, hub.web(), offer, terms, lambda status: hub.explain(status, offer))


def fetch_offer(
    shelf: Shelf, web: Web, offer: Offer, terms: Terms, explain: Callable[[Status], UserError]
) -> Generator[DownloadEvent, None, None]:
    """Fetch one of an offer's files and put it into its folder; the last event is Fetched. explain: a status in words.

    Nothing that is there is ever overwritten, and nothing takes a name that other programs see before it is whole and
    checked. Raises UserError with the reason where it does not come to that; the beginning of a download stays for the
    next time, what was found wrong does not.
    """
    file = choose(offer, terms)
    here = _is_here(shelf, file)
    if here is not None:
        yield _done(shelf, here, offer, was_here=True)
        return
    if file.size_bytes is not None and file.size_bytes > terms.max_bytes:
        raise UserError(f"{file.name} has {file.size_bytes / 1e9:.1f} GB; raise --max-gb if you want it")
    folder = part_folder(shelf.root, offer, file)
    try:
        with locked(folder):
            expected = Expected(file.url, file.size_bytes, file.sha256, terms.max_bytes, explain)
            fetch = Fetch(web, expected, folder)
            try:
                hashes = yield from _verified(fetch, file, shelf.reader)
                described = _checked(shelf.reader, fetch, file, terms)
                if described.kind != offer.kind:
                    yield Told(
                        f"the site calls it a {offer.kind}, but it is a {described.kind}, and goes to their folder"
                    )
                path, was_here = _place(shelf.root, fetch, described, hashes.sha256, file, offer)
            finally:
                if not fetch.part.exists() or not fetch.part.stat().st_size:  # nothing to go on with
                    shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise UserError(f"cannot write in {shelf.root}: {error.strerror}; make it writable, or say --models") from error
    shutil.rmtree(folder, ignore_errors=True)
    name = path.relative_to(shelf.root).as_posix()
    added = add(shelf.store, shelf.root, name, shelf.reader)
    with shelf.store.changing():
        shelf.store.set_hashes(shelf.root, name, added.stamp, hashes)
    found = shelf.store.get(shelf.root, name)
    assert found is not None
    yield _done(shelf, found, offer, was_here)


def part_folder(root: Path, offer: Offer, file: OfferedFile) -> Path:
    """Where the beginning of a download lies: the same place for the same file."""
    key = re.sub(r"[^\w-]+", "-", f"{offer.source}-{offer.id.partition(':')[2]}-{file.key}")[:120].strip("-")
    return root / STAGING / (key or "file")


def _verified(fetch: Fetch, file: OfferedFile, reader: Reader) -> Generator[FetchEvent, None, Hashes]:
    """The hashes of what was fetched, SHA-256 the one that was told. A download in parts gets a second chance."""
    while True:
        yield from fetch.run()
        resumed = fetch.resumed
        hashes = reader.hash(fetch.part)
        if file.sha256 in (None, hashes.sha256):
            return hashes
        fetch.forget()
        if not resumed:
            raise UserError(
                f"{file.name} came with another SHA-256 ({hashes.sha256[:12]}...) than was told "
                f"({str(file.sha256)[:12]}...), and is not kept; try again later"
            )
        yield Told("what came in parts is not the file that was told; it is fetched again from its start")


def _checked(reader: Reader, fetch: Fetch, file: OfferedFile, terms: Terms) -> Described:
    """What the file is, by its contents. Raises UserError, and keeps nothing, if it is not what may be taken."""
    described = reader.describe(fetch.part)
    reason = ""
    if described.problem:
        reason = described.problem.replace(str(fetch.part), file.name)
    elif described.kind not in KIND_FOLDERS:
        reason = f"{file.name} is no checkpoint, LoRA or embedding (it looks like: {described.kind})"
    elif described.container == "pickle" and file.format != "pickle":
        reason = f"{file.name} is a pickle that calls itself {file.format}; do not trust it"
    elif described.container == "pickle" and not terms.pickle:
        fetch.forget()
        reason = f"{file.name} is a pickle, which can carry programs; look for a .safetensors"
        raise Refused(reason, ", or say --pickle", "pickle")
    if reason:
        fetch.forget()
        raise UserError(reason)
    return described


def _place(
    root: Path, fetch: Fetch, described: Described, sha256: str, file: OfferedFile, offer: Offer
) -> tuple[Path, bool]:
    """Move the file to where its kind belongs, under its own name or with its version behind; says whether a file
    with the same contents had that name already."""
    folder = root / KIND_FOLDERS[described.kind]
    folder.mkdir(parents=True, exist_ok=True)
    if not folder.resolve().is_relative_to(root):
        raise UserError(f"{folder} is a link that leads out of the models folder; put the folder itself there")
    suffix = PICKLES[described.kind] if described.container == "pickle" else ".safetensors"
    number = re.sub(r"\W+", "-", offer.id.partition(":")[2]).strip("-")
    stem = clean_stem(file.name or fetch.name, f"{offer.source}-{number}")
    for name in (f"{stem}{suffix}", f"{clean_stem(f'{stem}-{number}', number)}{suffix}"):
        target = folder / name
        assert target.parent.resolve() == folder.resolve()
        if take_name(fetch.part, target):
            return target, False
        if target.is_file() and not target.is_symlink() and sha256_file(target) == sha256:
            return target, True
    raise UserError(f"{folder / stem}{suffix} is another file, and so is {target.name}; rename one of them")


def _is_here(shelf: Shelf, file: OfferedFile) -> ShelfFile | None:
    """The file on the shelf with the same contents; those of the same size are hashed to find out."""
    if file.sha256 is None or file.size_bytes is None:
        return None
    for each in shelf.store.of_size(shelf.root, file.size_bytes):
        hashes = each.hashes
        if hashes is None and not each.problem:
            hashes = _hashed(shelf, each)
        if hashes is not None and hashes.sha256 == file.sha256:
            return shelf.store.get(shelf.root, each.name)
    return None


def _hashed(shelf: Shelf, file: ShelfFile) -> Hashes | None:
    try:
        hashes = shelf.reader.hash(file.path)
    except UserError:
        return None  # it is gone, or nobody's to read: not the one that is looked for
    with shelf.store.changing():
        shelf.store.set_hashes(shelf.root, file.name, file.stamp, hashes)
    return hashes


def _done(shelf: Shelf, file: ShelfFile, offer: Offer, was_here: bool) -> Fetched:
    assert file.hashes is not None
    with shelf.store.changing():
        shelf.store.remember(file.hashes.sha256, offer.origin)
    return Fetched(file.path, file.hashes.sha256, file.kind, was_here, offer.origin)
