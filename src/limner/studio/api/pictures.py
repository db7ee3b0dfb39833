"""The gallery, and what a picture says of its making."""

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from limner.errors import UserError
from limner.studio.gallery import Picture, inputs_of
from limner.studio.inputs import missing_inputs, release_inputs
from limner.studio.json_body import JSONRoute
from limner.studio.places import Places
from limner.studio.readback import read_back
from limner.studio.state import Studio
from limner.studio.strangers import BODY, MOST_BYTES, received, stranger_text

router = APIRouter(route_class=JSONRoute, tags=["pictures"])

Number = Annotated[int, Path(ge=1, lt=2**62)]
FILE = {"content": {"image/png": {}}, "description": "The picture."}
SMALL = {"content": {"image/webp": {}, "image/png": {}}, "description": "A small copy."}


@router.get("/pictures")
def list_pictures(
    studio: Studio,
    before: Annotated[int | None, Query(ge=1, lt=2**62, description="Only older ones than this picture.")] = None,
    after: Annotated[int, Query(ge=0, lt=2**62, description="Only newer ones than this picture.")] = 0,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
) -> dict[str, Any]:
    """What was drawn, the newest first; more: whether there are older ones."""
    found = studio.gallery.find(before, after, limit + 1)
    return {"pictures": [shown(each, studio.places) for each in found[:limit]], "more": len(found) > limit}


@router.get("/pictures/{number}")
def one_picture(number: Number, studio: Studio) -> dict[str, Any]:
    """A picture, with the request that gives it again."""
    return shown(_found(studio, number), studio.places)


@router.get("/pictures/{number}/file", responses={200: FILE}, response_class=FileResponse)
def picture_file(number: Number, studio: Studio, download: bool = False) -> FileResponse:
    """The picture itself; download: to be kept, under its own name."""
    picture = _found(studio, number)
    path = studio.gallery.file(picture)
    return FileResponse(path, media_type="image/png", filename=path.name if download else None)


@router.get("/pictures/{number}/thumbnail", responses={200: SMALL}, response_class=FileResponse)
def picture_thumbnail(number: Number, studio: Studio) -> FileResponse:
    """A small copy for lists; the picture itself if that was taken away."""
    picture = _found(studio, number)
    small = studio.gallery.thumbnail(picture)
    headers = {"cache-control": "private, max-age=31536000, immutable"}  # numbers are never given twice
    if small.is_file():
        return FileResponse(small, media_type="image/webp", headers=headers)
    return FileResponse(studio.gallery.file(picture), media_type="image/png", headers=headers)


@router.delete("/pictures/{number}", status_code=204)
def remove_picture(number: Number, studio: Studio) -> None:
    """Remove a picture from the gallery, its file, and what no other was drawn from."""
    picture = _found(studio, number)
    studio.gallery.remove(picture)
    release_inputs(studio.places, studio.gallery, studio.jobs, inputs_of(picture.request))


@router.post("/png-info", openapi_extra=BODY, max_body_size=MOST_BYTES)
async def png_info(
    request: Request, studio: Studio, name: Annotated[str, Query(max_length=200)] = "the picture"
) -> dict[str, Any]:
    """What a picture's text says: the text, the settings that it gives, and notes on what is missing or different here.

    The body is a PNG, JPEG, WebP, AVIF or GIF file.
    """
    async with received(request) as stream:
        text = await stranger_text(stream, name)
    if text is None:
        raise UserError(f"{name} says nothing about how it was made; give one as it came out of the program")
    found = await run_in_threadpool(read_back, text, studio.places.models)
    return {"infotext": text, "settings": found.settings, "notes": found.notes}


def shown(picture: Picture, places: Places) -> dict[str, Any]:
    """A picture as the page sees it: its file's name, without the place. missing: what its request starts from, by
    name, as far as it is not there any more."""
    values = {name: getattr(picture, name) for name in Picture.__dataclass_fields__ if name != "name"}
    day, _, file = picture.name.rpartition("/")
    return values | {"file": file, "day": day, "missing": missing_inputs(places, picture.request)}


def _found(studio: Studio, number: int) -> Picture:
    try:
        return studio.gallery.get(number)
    except UserError as problem:
        raise HTTPException(404, str(problem)) from problem
