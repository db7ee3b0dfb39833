"""extra-single-image and extra-batch-images: finished pictures made larger, by a job that nobody sees."""

import html
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from limner.studio.inputs import remove_inputs
from limner.studio.json_body import JSONRoute
from limner.studio.sdapi.asked import given
from limner.studio.sdapi.drawing import done_job, forget, kept
from limner.studio.sdapi.pictures import MOST_BYTES, encoded
from limner.studio.state import State, Studio

router = APIRouter(route_class=JSONRoute)

FACES = ("gfpgan_visibility", "codeformer_visibility")


class Extras(BaseModel):
    """The fields that both calls share; null is what is left out."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    resize_mode: Literal[0, 1] | None = Field(0, description="0 by upscaling_resize, 1 to upscaling_resize_w and _h.")
    upscaling_resize: float | None = Field(2.0, gt=0, le=8)
    upscaling_resize_w: int | None = Field(512, ge=1, le=8192)
    upscaling_resize_h: int | None = Field(512, ge=1, le=8192)
    upscaling_crop: bool | None = True
    upscaler_1: str | None = Field("None", max_length=100)
    upscaler_2: str | None = Field("None", max_length=100)
    extras_upscaler_2_visibility: float | None = Field(0.0, ge=0, le=1)
    gfpgan_visibility: float | None = Field(0.0, ge=0, le=1)
    codeformer_visibility: float | None = Field(0.0, ge=0, le=1)


class Single(Extras):
    image: str = Field(description="In base64.")


class File(BaseModel):
    data: str = Field(description="In base64.")
    name: str = Field("", max_length=500)


class Batch(Extras):
    image_list: list[File] = Field(alias="imageList", min_length=1, max_length=100)


@router.post("/extra-single-image", max_body_size=MOST_BYTES)
async def extra_single_image(asked: Single, studio: Studio, request: Request) -> dict[str, Any]:
    """Make a picture larger."""
    (picture,), said = await _enlarged(asked, [asked.image], studio, request)
    return {"html_info": said, "image": picture}


@router.post("/extra-batch-images", max_body_size=MOST_BYTES)
async def extra_batch_images(asked: Batch, studio: Studio, request: Request) -> dict[str, Any]:
    """Make some pictures larger, all in the same way."""
    pictures, said = await _enlarged(asked, [file.data for file in asked.image_list], studio, request)
    return {"html_info": said, "images": pictures}


async def _enlarged(asked: Extras, pictures: list[str], studio: State, request: Request) -> tuple[list[str], str]:
    """Pictures in base64, and what was done to them, as HTML. Raises HTTPException."""
    values = _values(asked)
    names = await run_in_threadpool(kept, studio, pictures)
    try:
        job = await done_job("enlarge", values | {"images": names}, studio, request)
        try:
            result = job.result or {"pictures": [], "said": ""}
            folder = studio.places.job(job.id) / "pictures"
            made = await run_in_threadpool(
                lambda: [encoded((folder / name).read_bytes()) for name in result["pictures"]]
            )
        finally:
            forget(job, studio)
    finally:
        await run_in_threadpool(remove_inputs, studio.places, names)
    if len(made) < len(pictures):
        raise HTTPException(503, "it was stopped before all pictures were enlarged; ask again")
    return made, f"<p>{html.escape(result['said'])}</p>"


def _values(asked: Extras) -> dict[str, Any]:
    """Of an EnlargeRequest without its pictures. Raises HTTPException."""
    for name in FACES:
        if given(asked, name) > 0:
            raise HTTPException(422, f"{name}: Limner restores no faces; leave it out")
    values = {
        "scale": given(asked, "upscaling_resize"),
        "crop": given(asked, "upscaling_crop"),
        "upscaler": given(asked, "upscaler_1"),
        "second_upscaler": given(asked, "upscaler_2"),
        "share": given(asked, "extras_upscaler_2_visibility"),
    }
    if given(asked, "resize_mode") == 1:
        values |= {"width": given(asked, "upscaling_resize_w"), "height": given(asked, "upscaling_resize_h")}
    return values
