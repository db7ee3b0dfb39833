"""Pictures that drawing starts from, and their masks: sent once, then named in requests."""

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse

from limner.errors import UserError
from limner.studio.inputs import InputName, input_path, keep_input, tidy_inputs
from limner.studio.json_body import JSONRoute
from limner.studio.state import Studio
from limner.studio.strangers import BODY, MOST_BYTES, received

router = APIRouter(route_class=JSONRoute, tags=["inputs"])

FILE = {"content": {"application/octet-stream": {}}, "description": "The file as it was sent."}


@router.post("/inputs", status_code=201, openapi_extra=BODY, max_body_size=MOST_BYTES)
async def keep(request: Request, studio: Studio) -> dict[str, str]:
    """Keep a picture by a name that requests can say: for a week, or as long as the gallery has what was drawn from it.

    The body is its file, which is read when it is drawn from.
    """
    async with received(request) as stream:
        data = await run_in_threadpool(stream.read)
    if not data:
        raise UserError("there is no picture; choose one to start from")
    name = await run_in_threadpool(keep_input, studio.places, data)
    await run_in_threadpool(tidy_inputs, studio.places, studio.gallery, studio.jobs)
    return {"name": name}


@router.get("/inputs/{name}", responses={200: FILE}, response_class=FileResponse)
def kept(name: InputName, studio: Studio) -> FileResponse:
    """What was sent, byte for byte; not to be shown as a page, for nobody has looked at it."""
    try:
        path = input_path(studio.places, name)
    except UserError as problem:
        raise HTTPException(404, str(problem)) from problem
    return FileResponse(path, media_type="application/octet-stream", filename=name)
