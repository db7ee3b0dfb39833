"""Civitai's REST API, version 1 (interop 6): search, one model or version, and the model of a hash."""

import functools
import os
import re
from collections.abc import Generator
from typing import Any
from urllib.parse import quote

from limner.errors import UserError
from limner.library.key import VARIABLES, find_key
from limner.library.lenient import count, number, parse, table, tables, text, texts
from limner.library.offer import Offer, OfferedFile, Waiting
from limner.library.store import Store
from limner.library.web import Status, Web

SITE = "https://civitai.com"
ADDRESS = "LIMNER_CIVITAI"  # in the environment: another host with the same API, such as a mirror
TYPES = {
    "checkpoint": ("Checkpoint",),
    "lora": ("LORA", "LoCon", "DoRA"),
    "embedding": ("TextualInversion",),
}
KINDS = {name: kind for kind, names in TYPES.items() for name in names}
BASES = {
    "sd1": ("SD 1.4", "SD 1.5", "SD 1.5 LCM", "SD 1.5 Hyper"),
    "sd2": ("SD 2.0", "SD 2.0 768", "SD 2.1", "SD 2.1 768", "SD 2.1 Unclip"),
    "sdxl": (
        "SDXL 0.9", "SDXL 1.0", "SDXL 1.0 LCM", "SDXL Lightning", "SDXL Hyper", "SDXL Turbo", "SDXL Distilled", "Pony",
        "Illustrious", "NoobAI",
    ),
}  # fmt: skip
FAMILIES = {name: family for family, names in BASES.items() for name in names}
SORTS = {"downloads": "Most Downloaded", "likes": "Most Liked", "newest": "Newest"}
FORMATS = {"SafeTensor": "safetensors", "PickleTensor": "pickle"}
MOST_PAGES = 5  # that a search turns, where most of what a page has is left out here
FRESH_SECONDS = 300.0  # as long as the site's own cache keeps an answer
FRESH_HASH_SECONDS = 86_400.0
ID = re.compile(r"(?:(?P<model>\d{1,12})(?:@(?P<version>\d{1,12}))?|@(?P<alone>\d{1,12}))")
Waits = Generator[Waiting, None, Any]


class Civitai:
    """The site, its answers kept in the store for some minutes. Methods yield while they wait, and return what came."""

    def __init__(self, store: Store, web: Web | None = None) -> None:
        self._store = store
        self._given = web

    @functools.cached_property
    def web(self) -> Web:
        """The site and the key. Raises UserError if the environment's address or key are none."""
        return self._given or Web(os.environ.get(ADDRESS) or SITE, find_key())

    def search(
        self, query: str, kind: str | None, family: str | None, sort: str, limit: int, nsfw: bool = False
    ) -> Generator[Waiting, None, list[Offer]]:
        """The first models, each with the newest version that fits. Raises UserError if the site does not answer."""
        params = [("query", query)] if query.strip() else []
        params += [("types", name) for each in ([kind] if kind else TYPES) for name in TYPES[each]]
        params += [("baseModels", name) for name in (BASES[family] if family else ())]
        params += [("sort", SORTS[sort]), ("period", "AllTime"), ("nsfw", str(nsfw).lower())]
        params += [("limit", str(min(100, limit)))]
        found: list[Offer] = []
        cursor = ""
        for _ in range(MOST_PAGES):
            page = yield from self._get("/api/v1/models", params + ([("cursor", cursor)] if cursor else []))
            for item in tables(page, "items"):
                if nsfw or item.get("nsfw") is not True:
                    found += _fitting(item, kind, family, self.web.base)
            cursor = text(table(page, "metadata"), "nextCursor")
            if not cursor or len(found) >= limit:
                break
        return found[:limit]

    def model(self, id: str) -> Generator[Waiting, None, Offer]:
        """A version by "MODEL", of which the newest is meant, "MODEL@VERSION" or "@VERSION"."""
        match = ID.fullmatch(id)
        if match is None:
            raise UserError(f"civitai:{id[:60]} is no id of a model; write it as civitai:MODEL@VERSION, in numbers")
        version = match["version"] or match["alone"]
        if version:
            found = yield from self._get(f"/api/v1/model-versions/{version}", [])
            return self._of_version(found, id)
        found = yield from self._get(f"/api/v1/models/{match['model']}", [])
        versions = tables(found, "modelVersions")
        if not versions:
            raise UserError(f"Civitai's model {id} has no version that can be fetched; look at its page")
        return _offer(found, versions[0], self.web.base)

    def by_hash(self, digits: str) -> Generator[Waiting, None, Offer | None]:
        """The version that a file with this hash (AutoV2, AutoV3, SHA-256 ...) belongs to, None if there is none."""
        try:
            found = yield from self._get(
                f"/api/v1/model-versions/by-hash/{quote(digits, safe='')}", [], FRESH_HASH_SECONDS
            )
        except NotThere:
            return None
        return self._of_version(found, digits)

    def _of_version(self, version: dict[str, Any], id: str) -> Offer:
        offer = _offer(table(version, "model"), version, self.web.base)
        if not offer.files:
            raise UserError(f"Civitai's model {id} has no file that can be fetched; look at its page")
        return offer

    def _get(self, path: str, params: list[tuple[str, str]], seconds: float = FRESH_SECONDS) -> Waits:
        """The table that the site answers with, from the store if it is fresh."""
        request = f"{self.web.base}{path}?{sorted(params)} {'with' if self.web.has_key else 'without'} key"
        kept = self._store.answer(request)
        body = kept
        if body is None:
            try:
                body = yield from self.web.get(path, params)
            except Status as status:
                raise explained(status, self.web.has_key) from status
        found = parse(body)
        if not isinstance(found, dict):
            what = "a page for people" if body.lstrip()[:1] == b"<" else "no JSON"
            raise UserError(f"{self.web.host} answered with {what} where data were asked for; try again later")
        if kept is None:
            self._store.keep_answer(request, body, seconds)
        return found


class NotThere(UserError):
    """A model that the site does not have."""


def explained(status: Status, has_key: bool) -> UserError:
    """What a person can do about a status."""
    key = (
        "the key was not accepted; make a new one" if has_key else f"it asks for a key; put yours into ${VARIABLES[0]}"
    )
    rights = "its maker has not opened it to everyone yet" if has_key else f"it may ask for a key, in ${VARIABLES[0]}"
    advice = {
        400: "it did not understand the request; say other words",
        401: f"{key}, from your account's settings there",
        403: f"it does not give this out; {rights}",
        404: "it has no such model; check the id",
        410: "the model has been taken down; look for another",
        429: "it has had enough requests for now; try again later",
        503: "its search is out of order; try again later",
    }
    words = advice.get(status.status, "try again later")
    kind = NotThere if status.status == 404 else UserError
    return kind(f"{status.host} answered with status {status.status}: {words}")


def _fitting(item: dict[str, Any], kind: str | None, family: str | None, site: str) -> list[Offer]:
    """The item's newest version for the family, if the item is what was asked for: a site may know better."""
    offers = (_offer(item, version, site) for version in tables(item, "modelVersions"))
    fitting = (offer for offer in offers if kind in (None, offer.kind) and family in (None, offer.family))
    first = next(fitting, None)
    return [] if first is None else [first]


def _offer(model: dict[str, Any], version: dict[str, Any], site: str) -> Offer:
    """One version. Of the model's own facts, a version asked for by itself has only a few."""
    model_id = text(model, "id") or text(version, "modelId")
    version_id = text(version, "id")
    stats = table(version, "stats") or table(model, "stats")
    base = text(version, "baseModel")
    type_ = text(model, "type")
    return Offer(
        source="civitai",
        id=f"civitai:{model_id}@{version_id}",
        title=text(model, "name") or text(version, "name"),
        kind=KINDS.get(type_, type_),
        page=f"{site}/models/{model_id}?modelVersionId={version_id}" if model_id else "",
        version=text(version, "name"),
        family=FAMILIES.get(base, ""),
        base=base,
        keywords=texts(version, "trainedWords"),
        downloads=count(table(model, "stats") or stats, "downloadCount"),
        likes=count(table(model, "stats") or stats, "thumbsUpCount"),
        published=(text(version, "publishedAt") or text(version, "createdAt"))[:10],
        creator=text(table(model, "creator"), "username"),
        remark=_remark(version),
        files=tuple(_file(file, version, site) for file in tables(version, "files")),
    )


def _remark(version: dict[str, Any]) -> str:
    """What would keep a person from taking it."""
    if text(version, "availability") == "EarlyAccess" or text(version, "earlyAccessEndsAt"):
        return "early access: its maker asks for something first"
    if text(version, "status") not in ("", "Published"):
        return f"status {text(version, 'status')}"
    kind = text(version, "baseModelType")
    return "" if kind in ("", "Standard") else f"for {kind.lower()}"


def _file(file: dict[str, Any], version: dict[str, Any], site: str) -> OfferedFile:
    about = table(file, "metadata")
    size = number(file, "sizeKB")
    sha256 = text(table(file, "hashes"), "SHA256").lower()
    format = text(about, "format")
    name = text(file, "name")
    if not format and name.lower().endswith(".safetensors"):
        format = "SafeTensor"
    scans = {"virus": text(file, "virusScanResult"), "pickle": text(file, "pickleScanResult")}
    messages = (text(file, "virusScanMessage"), text(file, "pickleScanMessage"))
    return OfferedFile(
        name=name,
        url=text(file, "downloadUrl") or f"{site}/api/download/models/{text(version, 'id')}",
        key=text(file, "id"),
        size_bytes=None if size is None else round(size * 1024),
        sha256=sha256 if re.fullmatch(r"[0-9a-f]{64}", sha256) else None,
        format=FORMATS.get(format, format),
        precision=text(about, "fp"),
        part=text(file, "type") or "Model",
        is_main=file.get("primary") is True,
        scans=scans,
        scan_message=" ".join(filter(None, messages))[:200],
    )
