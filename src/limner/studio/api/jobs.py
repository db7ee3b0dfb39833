"""Jobs: give one, watch it, tell it what to do."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field

from limner.studio.control import CANCEL, FINISH, PAUSE, SKIP
from limner.studio.feed import EVENTS, FeedReader, read_feed
from limner.studio.jobs import Job
from limner.studio.kinds import KINDS
from limner.studio.state import Studio

router = APIRouter(tags=["jobs"])

SECONDS_BETWEEN_NEWS = 0.25
SECONDS_ALIVE = 15.0  # between signs of life on a quiet stream
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
FILES = {".safetensors": "application/octet-stream"} | PICTURES
PRIVATE = ("path", "folder", "run")  # fields of events that name places on this machine


class Order(BaseModel):
    """A job to be done."""

    kind: Annotated[str, Field(json_schema_extra={"enum": list(KINDS)})] = Field(description="What is to be done.")
    request: dict[str, Any] = Field({}, description="What for: the fields of that kind's request.")
    title: str = Field("", max_length=200, description="What it is called in lists.")


class Asked(BaseModel):
    """What is asked of a job."""

    ask: Literal["pause", "cancel", "finish", "skip", "resume", "first"]


@router.get("/jobs")
def list_jobs(studio: Studio, limit: Annotated[int, Query(ge=1, le=1000)] = 200) -> list[dict[str, Any]]:
    """What runs, what waits, then what has ended, the latest first."""
    return [shown(job) for job in studio.supervisor.all(limit)]


@router.post("/jobs", status_code=201)
async def give_job(order: Order, studio: Studio) -> dict[str, Any]:
    """Put a job into the queue."""
    return shown(studio.supervisor.give(order.kind, order.request, order.title or order.kind))


@router.get("/jobs/{number}")
def one_job(number: int, studio: Studio) -> dict[str, Any]:
    return shown(studio.supervisor.job(number))


@router.post("/jobs/{number}")
async def ask_job(number: int, asked: Asked, studio: Studio) -> dict[str, Any]:
    """Pause, resume, end or cancel a job, or let it go first."""
    if asked.ask == "resume":
        return shown(studio.supervisor.resume(number))
    if asked.ask == "first":
        return shown(studio.supervisor.first(number))
    return shown(studio.supervisor.ask(number, asked.ask))


@router.delete("/jobs/{number}", status_code=204)
async def remove_job(number: int, studio: Studio) -> None:
    """Forget a job that has ended; files on the shelf stay."""
    studio.supervisor.remove(number)


@router.get("/jobs/{number}/events", response_class=EventSourceResponse)
async def job_events(
    number: int, studio: Studio, after: Annotated[int, Query(ge=0)] = 0
) -> AsyncIterator[ServerSentEvent]:
    """A job's events after one of them, as they come, until it ends."""
    job = studio.jobs.get(number)
    reader = FeedReader(studio.places.job(job.id) / EVENTS)
    while True:
        count = studio.supervisor.changes.count
        is_over = studio.jobs.get(number).status not in ("queued", "running")
        for line in reader.new():
            if line["seq"] > after:
                yield ServerSentEvent(data=public(line), id=str(line["seq"]))
        if is_over:
            return
        await studio.supervisor.changes.after(count, SECONDS_ALIVE)
        await asyncio.sleep(SECONDS_BETWEEN_NEWS)


@router.get("/jobs/{number}/events/{seq}/file")
def event_file(number: int, seq: int, studio: Studio) -> FileResponse:
    """The file that an event tells of: a preview, a picture, what was learned."""
    job = studio.jobs.get(number)
    for line in read_feed(studio.places.job(job.id) / EVENTS):
        if line["seq"] == seq and "path" in line:
            path = Path(line["path"])
            kind = FILES.get(path.suffix.lower())
            if kind is not None and path.is_file():
                return FileResponse(
                    path, media_type=kind, filename=path.name if kind not in PICTURES.values() else None
                )
    raise HTTPException(404, "there is no such file any more")


@router.get("/events", response_class=EventSourceResponse)
async def all_events(studio: Studio) -> AsyncIterator[ServerSentEvent]:
    """Every job whenever something about it changes: first all of them, then each that does."""
    told: dict[int, str] = {}
    while True:
        count = studio.supervisor.changes.count
        now = {job.id: json.dumps(shown(job)) for job in studio.supervisor.all()}
        for number, text in now.items():
            if told.get(number) != text:
                yield ServerSentEvent(raw_data=text, event="job")
        for number in told.keys() - now.keys():
            yield ServerSentEvent(data={"id": number}, event="removed")
        told = now
        await studio.supervisor.changes.after(count, SECONDS_ALIVE)
        await asyncio.sleep(SECONDS_BETWEEN_NEWS)


def shown(job: Job) -> dict[str, Any]:
    """A job as the page sees it: no places on this machine, and instead of files their names."""
    values = {name: getattr(job, name) for name in Job.__dataclass_fields__ if name not in ("hidden", "position")}
    return values | {"result": _without_places(job.result)}


def public(line: dict[str, Any]) -> dict[str, Any]:
    """An event as the page sees it."""
    plain = {name: value for name, value in line.items() if name not in PRIVATE}
    if "path" in line:
        plain["file"] = Path(line["path"]).name
    if line["event"] == "Ended":
        plain["result"] = _without_places(line["result"])
    return plain


def _without_places(result: Any) -> Any:
    if isinstance(result, dict):
        named = {"file": Path(result["path"]).name} if isinstance(result.get("path"), str) else {}
        return {name: _without_places(value) for name, value in result.items() if name not in PRIVATE} | named
    if isinstance(result, list):
        return [_without_places(value) for value in result]
    return result


__all__ = ["CANCEL", "FINISH", "KINDS", "PAUSE", "SKIP", "router"]
