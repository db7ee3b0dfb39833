"""Pictures that drawing starts from: sent once, then named in requests."""

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool

from limner.errors import UserError
from limner.studio.inputs import keep_input, remove_old_inputs
from limner.studio.state import Studio
from limner.studio.strangers import BODY, MOST_BYTES, received

router = APIRouter(tags=["inputs"])


@router.post("/inputs", status_code=201, openapi_extra=BODY, max_body_size=MOST_BYTES)
async def keep(request: Request, studio: Studio) -> dict[str, str]:
    """Keep a picture for a week, by a name that requests can say; the body is its file, read when it is drawn from."""
    async with received(request) as stream:
        data = await run_in_threadpool(stream.read)
    if not data:
        raise UserError("there is no picture; choose one to start from")
    await run_in_threadpool(remove_old_inputs, studio.places)
    return {"name": await run_in_threadpool(keep_input, studio.places, data)}
