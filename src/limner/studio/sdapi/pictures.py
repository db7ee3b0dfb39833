"""Pictures as the webui's API sends them: base64, or a data URL."""

import base64
import binascii
import tempfile
from typing import Any

from fastapi import APIRouter, HTTPException
from pydantic import BaseModel, Field

from limner.errors import UserError
from limner.infotext import parse_infotext
from limner.studio.json_body import JSONRoute
from limner.studio.strangers import stranger_text

router = APIRouter(route_class=JSONRoute)

MOST_BYTES = 96 * 2**20  # of a request with pictures


class PngInfo(BaseModel):
    image: str = Field(description="A picture, in base64.")


@router.post("/png-info", max_body_size=MOST_BYTES)
async def png_info(asked: PngInfo) -> dict[str, Any]:
    """What a picture says of its making; nothing if it says nothing."""
    if not asked.image.strip():
        raise HTTPException(404, "there is no picture in the request")
    with tempfile.TemporaryFile() as stream:
        stream.write(decoded(asked.image))
        stream.flush()
        stream.seek(0)
        text = await stranger_text(stream, "the picture")
    if text is None:
        return {"info": "", "items": {}, "parameters": {}}
    said = parse_infotext(text)
    parameters = {"Prompt": said.prompt, "Negative prompt": said.negative_prompt} | said.settings
    return {"info": text, "items": {"parameters": text}, "parameters": parameters}


def decoded(text: str) -> bytes:
    """The bytes of a picture. Raises UserError; an address is one, for what others could make a server fetch."""
    if text.startswith(("http://", "https://")):
        raise UserError("pictures are not fetched from addresses; send the picture itself, in base64")
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        raise UserError("a picture is not in base64; send the bytes of a PNG or JPEG file that way") from None
    if not data:
        raise UserError("a picture is empty; send the bytes of a PNG or JPEG file, in base64")
    return data


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
