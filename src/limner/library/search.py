"""One search over what is here, Civitai and the hub."""

import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from limner.errors import UserError
from limner.library.civitai import Civitai
from limner.library.hub import Hub
from limner.library.offer import Asking, Failed, Found, Offer, OfferedFile, Waiting
from limner.library.shelf import ShelfFile
from limner.library.store import Store

SOURCES = ("local", "civitai", "hub")
HASH = re.compile(r"[0-9a-fA-F]{10}|[0-9a-fA-F]{12}|[0-9a-fA-F]{64}")
SearchEvent = Asking | Found | Failed | Waiting


@dataclass(frozen=True)
class Request:
    """What to look for. kind, family: None for any. sort: "downloads", "likes" or "newest". limit: of each source."""

    query: str
    kind: str | None = None
    family: str | None = None
    sort: str = "downloads"
    limit: int = 10
    nsfw: bool = False


def search(
    store: Store, root: Path | None, request: Request, sources: Sequence[str], civitai: Civitai, hub: Hub
) -> Generator[SearchEvent, None, None]:
    """Rows of each source, in the order of `sources`; one that does not answer is named, and the others go on.

    root: the models folder, as it was last scanned; None if there is none. Only asking for "civitai" or "hub" sends
    anything anywhere.
    """
    for source in sources:
        try:
            if source != "local":
                yield Asking(source)
            if source == "local":
                found = [] if root is None else _local(store, root, request)
            elif source == "civitai":
                found = yield from _civitai(civitai, request)
            else:
                found = _hub(hub, request)
        except UserError as error:
            yield Failed(source, str(error))
            continue
        for offer in found:
            yield Found(offer if source == "local" or root is None else _with_here(store, root, offer))


def _civitai(civitai: Civitai, request: Request) -> Generator[Waiting, None, list[Offer]]:
    if HASH.fullmatch(request.query.strip()):
        found = yield from civitai.by_hash(request.query.strip())
        if found is not None:
            return [found]
    asked = (request.query, request.kind, request.family, request.sort, request.limit, request.nsfw)
    return (yield from civitai.search(*asked))


def _hub(hub: Hub, request: Request) -> list[Offer]:
    asked = (request.query, request.kind, request.family, request.sort, request.limit, request.nsfw)
    return hub.search(*asked)


def _local(store: Store, root: Path, request: Request) -> list[Offer]:
    kinds = [request.kind] if request.kind else ["checkpoint", "lora", "embedding"]
    families = [request.family] if request.family else []
    is_newest = request.sort == "newest"
    found = store.find(root, request.query, kinds, families, None if is_newest else request.limit)
    if is_newest:
        found.sort(key=lambda file: -file.stamp.mtime_ns)
    return [_of_file(file) for file in found[: request.limit]]


def _of_file(file: ShelfFile) -> Offer:
    sha256 = None if file.hashes is None else file.hashes.sha256
    itself = OfferedFile(file.path.name, "", "", file.size_bytes, sha256, file.container, is_main=True)
    return Offer(
        source="local",
        id=f"local:{file.name}",
        title=file.path.stem,
        kind=file.kind,
        family=file.family,
        keywords=file.keywords,
        page="" if file.origin is None else file.origin.page,
        published=datetime.fromtimestamp(file.stamp.mtime_ns / 1e9, UTC).strftime("%Y-%m-%d"),
        files=(itself,),
        here=file.path,
    )


def _with_here(store: Store, root: Path, offer: Offer) -> Offer:
    hashes = [file.sha256 for file in offer.files if file.sha256 is not None]
    return offer.with_here(store.path_of(root, hashes))
