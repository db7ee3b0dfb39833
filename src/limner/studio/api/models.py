"""The models that there are: rows of the index, their pictures, and their files.

A model is named by its place below the models folder ("Lora/ink.safetensors"). A name is looked up in the index, and
what the index has is what is opened: no name is ever joined to a path.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from limner.base import pocket
from limner.config import KIND_FOLDERS
from limner.library import tidy
from limner.library.shelf import ShelfFile
from limner.library.store import Order
from limner.studio.json_body import JSONRoute
from limner.studio.state import State, Studio

router = APIRouter(route_class=JSONRoute, tags=["models"])

MOST_PICTURE_BYTES = 32 * 2**20
STARTS = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg"}
POCKET_WORDS = ("pocket", "built in", "sd1", "checkpoint")
Kind = Literal["checkpoint", "lora", "embedding"]
Name = Annotated[str, Query(max_length=4096, description="A model's name, as the list has it.")]
Words = Annotated[str, Query(max_length=1000, description="Words that all must stand in what is known of a file.")]


@router.get("/models")
def list_models(
    studio: Studio,
    q: Words = "",
    type: Kind | None = None,
    base: Annotated[str, Query(max_length=100, description="A family: sd1, sd2, sdxl, sd3.")] = "",
    order: Order = "name",
    limit: Annotated[int, Query(ge=1, le=1000)] = 200,
    offset: Annotated[int, Query(ge=0, le=10_000_000)] = 0,
) -> dict[str, Any]:
    """Models that have all these words, with how many of each kind there are. The built-in base comes first."""
    studio.shelf.watched()
    version = studio.shelf.now.version
    root = studio.shelf.root
    kinds, families = [type] if type else [], [base] if base else []
    with studio.shelf.store() as store:
        counts = store.count(root, q, kinds, families)
        pockets = [POCKET] if _is_pocket(q, kinds, families) else []
        own, skipped = pockets[offset : offset + limit], min(offset, len(pockets))
        is_past = offset - skipped >= sum(counts.values())
        files = [] if is_past else store.find(root, q, kinds, families, limit - len(own), offset - skipped, order)
    if pockets:
        counts["checkpoint"] = counts.get("checkpoint", 0) + 1
    rows = own + [shown(file) for file in files]
    return {"models": rows, "counts": counts, "total": sum(counts.values()), "version": version}


@router.get("/models/scan")
def scan_state(studio: Studio, request: Request) -> dict[str, Any]:
    """How far the index is, and where to put files: the folder's place only for who sits at this machine."""
    studio.shelf.watched()
    now = studio.shelf.now
    is_here = request.client is not None and request.client.host in ("127.0.0.1", "::1")
    return {
        "version": now.version,
        "busy": now.is_busy,
        "done": now.done,
        "total": now.total,
        "left_out": now.left_out,
        "problem": now.problem if is_here else now.problem and "the index cannot be used",
        "folder": str(studio.shelf.models) if is_here else None,
        "folders": KIND_FOLDERS,
    }


@router.post("/models/scan")
async def scan(studio: Studio, request: Request) -> dict[str, Any]:
    """Look for what is new, changed or gone."""
    studio.shelf.scan()
    return scan_state(studio, request)


@router.get("/models/one")
def one_model(name: Name, studio: Studio) -> dict[str, Any]:
    """All that is known of a model."""
    return POCKET if name == pocket.NAME else shown(find(studio, name))


@router.get("/models/preview")
def preview(name: Name, studio: Studio) -> FileResponse:
    """The picture beside a model's file."""
    file = find(studio, name)
    path = None if file.preview is None else _inside(file.root, file.preview)
    kind = None if path is None else _picture_kind(path)
    if path is None or kind is None:
        raise HTTPException(404, "there is no picture beside this model")
    return FileResponse(path, media_type=kind, headers={"cache-control": "private, max-age=60"})


@router.get("/models/file")
def file(name: Name, studio: Studio) -> FileResponse:
    """The model's file, to be kept elsewhere."""
    found = find(studio, name)
    path = _inside(found.root, found.name)
    if path is None:
        raise HTTPException(404, f"{found.name} is not there any more")
    return FileResponse(path, media_type="application/octet-stream", filename=path.name)


class Renaming(BaseModel):
    """Another stem for a model's file."""

    name: str = Field(max_length=4096, description="The model, as the list has it.")
    stem: str = Field(max_length=200, description="What its file is to be called, without folders and ending.")


class Removing(BaseModel):
    """A model to be put into the trash folder."""

    name: str = Field(max_length=4096, description="The model, as the list has it.")


@router.post("/models/rename")
def rename_model(asked: Renaming, studio: Studio) -> dict[str, str]:
    """Call a model's file otherwise, its picture and notes too; returns its new name."""
    found = find(studio, asked.name)
    with studio.shelf.store() as store:
        return {"name": tidy.rename(store, found, asked.stem)}


@router.post("/models/remove")
def remove_model(asked: Removing, studio: Studio) -> dict[str, str]:
    """Put a model's file into the folder .trash of the models folder; it can be taken out again there."""
    found = find(studio, asked.name)
    with studio.shelf.store() as store:
        return {"trash": tidy.remove(store, found).relative_to(found.root).as_posix()}


def find(studio: State, name: str) -> ShelfFile:
    """The model of a name. Raises HTTPException if the index has none."""
    with studio.shelf.store() as store:
        found = store.get(studio.shelf.root, name)
    if found is None:
        raise HTTPException(404, f"there is no model {name[:200]!r} on the shelf")
    return found


def shown(file: ShelfFile) -> dict[str, Any]:
    """A row, without places on this machine. readers: [{name, loads: null if not known, says: what it leaves out or
    gets wrong}]."""
    details, hashes, origin = file.details, file.hashes, file.origin
    readers = [
        {"name": name, "loads": loads, "says": _plain(says, file)}
        for name, (loads, says) in details.get("readers", {}).items()
    ]
    return {
        "name": file.name,
        "stem": file.path.stem,
        "title": details.get("title") or (origin.title if origin else "") or file.path.stem,
        "kind": file.kind,
        "form": file.form,
        "family": file.family,
        "keywords": list(file.keywords),
        "alias": details.get("alias", ""),
        "size_bytes": file.size_bytes,
        "changed": file.stamp.mtime_ns / 1e9,
        "container": file.container,
        "sha256": hashes.sha256 if hashes else None,
        "autov2": hashes.autov2 if hashes else None,
        "autov3": hashes.autov3 if hashes else None,
        "readers": readers,
        "problem": _plain(file.problem, file),
        "preview": file.preview is not None,
        "built_in": False,
        "origin": None
        if origin is None
        else {
            "source": origin.source,
            "id": origin.id,
            "page": origin.page if origin.page.startswith(("https://", "http://")) else "",
            "title": origin.title,
            "version": origin.version,
            "base": origin.base,
        },
        "base_name": details.get("base_name", ""),
        "tags": details.get("tags", []),
        "words": details.get("words", []),
        "ranks": details.get("ranks", []),
        "prediction_type": details.get("prediction_type", ""),
        "refusal": _plain(details.get("refusal") or "", file),
        "warnings": [_plain(each, file) for each in details.get("warnings", [])],
    }


POCKET: dict[str, Any] = {
    "name": pocket.NAME,
    "stem": pocket.NAME,
    "title": "Pocket, the built-in base",
    "kind": "checkpoint",
    "form": "",
    "family": "sd1",
    "keywords": [],
    "alias": "",
    "size_bytes": None,
    "changed": None,
    "container": "",
    "sha256": None,
    "autov2": None,
    "autov3": None,
    "readers": [],
    "problem": "",
    "preview": False,
    "built_in": True,
    "origin": None,
    "base_name": "",
    "tags": [],
    "words": [],
    "ranks": [],
    "prediction_type": "",
    "refusal": "",
    "warnings": [],
}


def _is_pocket(query: str, kinds: Sequence[str], families: Sequence[str]) -> bool:
    is_kind = not kinds or "checkpoint" in kinds
    is_family = not families or POCKET["family"] in families
    return is_kind and is_family and all(word in " ".join(POCKET_WORDS) for word in query.casefold().split())


def _inside(root: Path, name: str) -> Path | None:
    """A file of the index, if it is there still and no link that leads out."""
    path = root / name
    is_fit = path.is_file() and path.resolve().is_relative_to(root)
    return path if is_fit else None


def _picture_kind(path: Path) -> str | None:
    """What a picture is by its first bytes, whatever it is called; None if it is none, or too large."""
    with path.open("rb") as stream:
        start = stream.read(12)
    if path.stat().st_size > MOST_PICTURE_BYTES:
        return None
    if start.startswith(b"RIFF") and start.endswith(b"WEBP"):
        return "image/webp"
    return next((kind for signature, kind in STARTS.items() if start.startswith(signature)), None)


def _plain(text: str, file: ShelfFile) -> str:
    """A sentence in which a file is called as in the index: no places on this machine."""
    return text.replace(str(file.path), file.name).replace(f"{file.root}/", "")
