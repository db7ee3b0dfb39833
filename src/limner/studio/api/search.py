"""Models at Civitai and on the hub, asked only when the person searches there, and the key for Civitai."""

import threading
from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import BaseModel, Field, SecretStr

from limner.config import SearchSettings
from limner.config.library import ModelFamily, ModelKind, Sort, Source
from limner.errors import UserError
from limner.library import key as keys
from limner.library import search as searching
from limner.library.choose import Refused, Terms, choose
from limner.library.civitai import Civitai
from limner.library.hub import Hub
from limner.library.offer import DANGER, Failed, Found, Offer
from limner.studio.jobs import Busy
from limner.studio.json_body import JSONRoute
from limner.studio.state import Studio

router = APIRouter(route_class=JSONRoute, tags=["search"])

MOST_AT_ONCE = 4  # searches, each of which holds a thread for as long as a site asks for patience
_free = threading.BoundedSemaphore(MOST_AT_ONCE)


class KeyGiven(BaseModel):
    """The key from the account's settings at Civitai. It goes into the machine's keyring, and is never shown."""

    key: SecretStr = Field(min_length=1, max_length=500)


@router.get("/search")
def search(
    studio: Studio,
    request: Request,
    q: Annotated[str, Query(max_length=500, description=SearchSettings.model_fields["query"].description)] = "",
    type: ModelKind | None = None,
    base: ModelFamily | None = None,
    sort: Sort = "downloads",
    nsfw: bool = False,
    limit: Annotated[int, Query(ge=1, le=100)] = 20,
    source: Annotated[list[Source] | None, Query(description="Where to look; only here by default.")] = None,
) -> dict[str, Any]:
    """Rows of each source. One that does not answer is named in `failed`, with the reason, beside the others' rows.

    Only with source=civitai or source=hub does anything leave this machine: the words, the filters, and for Civitai
    the key if there is one.
    """
    sources = tuple(dict.fromkeys(source or ("local",)))
    if sources != ("local",) and request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise HTTPException(403, "a page from elsewhere may not search; open the studio's own page")
    if not _free.acquire(blocking=False):
        raise Busy(f"{MOST_AT_ONCE} searches are under way; wait for one of them")
    try:
        with studio.shelf.store() as store:
            wanted = searching.Request(q, type, base, sort, limit, nsfw)
            found, failed = [], {}
            for event in searching.search(store, studio.shelf.root, wanted, sources, Civitai(store), Hub()):
                if isinstance(event, Found):
                    found.append(shown(event.offer, studio.shelf.root))
                elif isinstance(event, Failed):
                    failed[event.source] = event.reason
    finally:
        _free.release()
    return {"found": found, "failed": failed}


@router.get("/search/key")
def key_state() -> dict[str, Any]:
    """Whether there is a key for Civitai, and whether one can be kept; never the key."""
    try:
        has_key, problem = keys.find_key() is not None, ""
    except UserError as error:
        has_key, problem = False, str(error)
    return {
        "has_key": has_key,
        "from_environment": keys.in_environment(),
        "can_keep": keys.can_keep(),
        "problem": problem,
    }


@router.put("/search/key")
def keep_key(given: KeyGiven) -> dict[str, Any]:
    """Put the key into the machine's keyring."""
    keys.keep_key(given.key.get_secret_value())
    return key_state()


@router.delete("/search/key")
def forget_key() -> dict[str, Any]:
    """Take the key out of the machine's keyring."""
    keys.forget_key()
    return key_state()


def shown(offer: Offer, root: Any) -> dict[str, Any]:
    """A row. here: the model's name on the shelf. agree: the terms that its file needs; refused: why it is not taken
    at all, as far as the search tells. What is not known yet is asked for when it is fetched."""
    main = offer.main
    agree, refused, files = _terms(offer)
    return {
        "source": offer.source,
        "id": offer.id,
        "title": offer.title,
        "version": offer.version,
        "kind": offer.kind,
        "base": offer.base or offer.family,
        "family": offer.family,
        "keywords": list(offer.keywords),
        "creator": offer.creator,
        "downloads": offer.downloads,
        "likes": offer.likes,
        "published": offer.published,
        "remark": offer.remark,
        "page": offer.page if offer.page.startswith(("https://", "http://")) else "",
        "file": main and main.name,
        "size_bytes": main and main.size_bytes,
        "format": main.format if main else "",
        "precision": main.precision if main else "",
        "sha256": main and main.sha256,
        "scans": main.scans if main else {},
        "is_dangerous": any(DANGER in file.scans.values() for file in offer.files),
        "agree": agree,
        "refused": refused,
        "files": files,
        "here": None if offer.here is None else offer.here.relative_to(root).as_posix(),
    }


def _terms(offer: Offer) -> tuple[dict[str, str], str, list[str]]:
    """({terms to agree to: why}, why it is not taken, the files of which one is to be named)."""
    agree: dict[str, str] = {}
    if offer.source == "local" or not offer.files:
        return agree, "", []
    while True:
        try:
            choose(offer, Terms(pickle="pickle" in agree, unverified="unverified" in agree))
        except Refused as refusal:
            if not refusal.agree:
                return agree, "", list(refusal.files)
            agree[refusal.agree] = refusal.reason
        except UserError as error:
            return agree, str(error), []
        else:
            return agree, "", []
