"""txt2img and img2img: a job that nobody sees, waited for, and forgotten with its pictures when it is answered."""

import asyncio
from contextlib import suppress
from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from limner.errors import UserError
from limner.studio.control import CANCEL
from limner.studio.inputs import keep_input, remove_inputs
from limner.studio.jobs import Busy, Job
from limner.studio.json_body import JSONRoute
from limner.studio.sdapi.asked import Drawing, Img2Img, Txt2Img, init_values, request_values
from limner.studio.sdapi.hires import hires_values
from limner.studio.sdapi.pictures import MOST_BYTES, decoded
from limner.studio.sdapi.told import answer
from limner.studio.state import State, Studio

router = APIRouter(route_class=JSONRoute)

SECONDS_BETWEEN_LOOKS = 1.0  # whether who asked is still there
OURS = ("a fault of Limner's", "its worker died")  # how errors begin that are nobody else's


@router.post("/txt2img")
async def txt2img(asked: Txt2Img, studio: Studio, request: Request) -> dict[str, Any]:
    """Draw pictures of a prompt."""
    values = await run_in_threadpool(request_values, asked, studio)
    values["hires"] = await run_in_threadpool(hires_values, asked, values, studio)
    return await _drawn(asked, values, studio, request)


@router.post("/img2img", max_body_size=MOST_BYTES)
async def img2img(asked: Img2Img, studio: Studio, request: Request) -> dict[str, Any]:
    """Draw pictures that start from pictures."""
    if not asked.init_images or not all(asked.init_images):
        raise HTTPException(404, "init_images: there is no picture to start from")
    values = await run_in_threadpool(request_values, asked, studio)
    init = init_values(asked)
    pictures = [*asked.init_images, *([asked.mask] if asked.mask else [])]
    names = await run_in_threadpool(kept, studio, pictures, values["keep"])
    try:
        init |= {"images": names[: len(asked.init_images)], "mask": names[-1] if asked.mask else None}
        values["batch_size"] = max(values["batch_size"], len(asked.init_images))
        values["count"] = max(values["count"], values["batch_size"])
        return await _drawn(asked, values | {"init": init}, studio, request)
    finally:
        if not values["keep"]:
            await run_in_threadpool(remove_inputs, studio.places, names)


def kept(studio: State, pictures: list[str], is_shared: bool = False) -> list[str]:
    """Their names among the inputs. Raises HTTPException, and keeps none, if one is no picture at all."""
    try:
        data = [decoded(picture) for picture in pictures]
    except UserError as error:
        raise HTTPException(422, str(error)) from error
    return [keep_input(studio.places, each, is_shared) for each in data]


async def _drawn(asked: Drawing, values: dict[str, Any], studio: State, request: Request) -> dict[str, Any]:
    job = await done_job("generate", values, studio, request)
    try:
        return await run_in_threadpool(answer, asked, job, studio)
    finally:
        forget(job, studio)


async def done_job(kind: str, values: dict[str, Any], studio: State, request: Request) -> Job:
    """A hidden job, done; the caller forgets it. Cancelled if the client goes. Raises HTTPException if it fails."""
    try:
        number = studio.supervisor.give(kind, values, values.get("prompt", kind)[:80], hidden=True).id
    except Busy:
        raise
    except UserError as error:
        raise HTTPException(422, str(error)) from error
    job = await _ended(number, studio, request)
    if job.status == "failed":
        forget(job, studio)
        raise HTTPException(500 if job.error.startswith(OURS) else 422, job.error)
    return job


async def _ended(number: int, studio: State, request: Request) -> Job:
    end = asyncio.ensure_future(studio.supervisor.ended(number))
    try:
        while not (await asyncio.wait([end], timeout=SECONDS_BETWEEN_LOOKS))[0]:
            if await request.is_disconnected():
                with suppress(UserError):  # it has ended this moment
                    studio.supervisor.ask(number, CANCEL)
        return end.result()
    finally:
        end.cancel()


def forget(job: Job, studio: State) -> None:
    """Remove the job and what lies in its folder."""
    with suppress(UserError):
        studio.supervisor.remove(job.id)
