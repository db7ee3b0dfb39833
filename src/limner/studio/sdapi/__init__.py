"""AUTOMATIC1111's HTTP API, as far as Limner has what it asks for, so that programs that know the webui know Limner.

Fields that are not known are passed by, as in the webui. What is known but cannot be done is refused in a sentence: no
request is half fulfilled without a word.
"""

from fastapi import APIRouter

from limner.studio.sdapi import drawing, extras, learning, listing, options, pictures, progress

PREFIX = "/sdapi/v1"

router = APIRouter(prefix=PREFIX, tags=["the webui's API"])
for part in (drawing, extras, pictures, progress, options, listing, learning):
    router.include_router(part.router)
