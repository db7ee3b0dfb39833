"""Jobs: give one, watch it, tell it what to do."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, HTTPException, Query
from fastapi.responses import FileResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel, Field

from limner.errors import UserError
from limner.studio.control import CANCEL, FINISH, PAUSE, SKIP
from limner.studio.feed import EVENTS, FeedReader, find_event
from limner.studio.jobs import Job
from limner.studio.json_body import JSONRoute
from limner.studio.kinds import KINDS
from limner.studio.state import Studio

router = APIRouter(route_class=JSONRoute, tags=["jobs"])

SECONDS_BETWEEN_NEWS = 0.25
SECONDS_ALIVE = 15.0  # between signs of life on a quiet stream
PICTURES = {".png": "image/png", ".jpg": "image/jpeg", ".webp": "image/webp"}
FILES = {".safetensors": "application/octet-stream"} | PICTURES
SECONDS_KEPT = 3600  # that a browser need not ask for a picture again
CARD = "card"
PRIVATE = ("path", "folder", "run")  # fields of events that name places on this machine


def found(number: int, studio: Studio) -> Job:
    """The job of an address. Raises UserError, before an answer begins."""
    return studio.supervisor.job(number)


Found = Annotated[Job, Depends(found)]


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
def one_job(job: Found) -> dict[str, Any]:
    """A job with all that came of it."""
    return shown(job) | {"result": _without_places(job.result)}


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
    job: Found,
    studio: Studio,
    after: Annotated[int, Query(ge=0)] = 0,
    last_event_id: Annotated[str, Header(description="As browsers send it when they come back.")] = "",
) -> AsyncIterator[ServerSentEvent]:
    """A job's events after one of them, as they come, until it ends."""
    after = max(after, int(last_event_id)) if last_event_id.isdecimal() and len(last_event_id) < 16 else after
    reader = FeedReader(studio.places.job(job.id) / EVENTS)
    while True:
        count = studio.supervisor.changes.count
        is_over = _is_over(studio, job.id)
        while lines := await asyncio.to_thread(reader.new):
            for line in lines:
                if line["seq"] > after:
                    yield ServerSentEvent(data=public(line), id=str(line["seq"]))
        if is_over:
            return
        await studio.supervisor.changes.after(count, SECONDS_ALIVE)
        await asyncio.sleep(SECONDS_BETWEEN_NEWS)


@router.get("/jobs/{number}/events/{seq}/file")
def event_file(job: Found, seq: int, studio: Studio) -> FileResponse:
    """The file that an event tells of: a preview, a picture, what was learned."""
    line = find_event(studio.places.job(job.id) / EVENTS, seq)
    path = Path(line["path"]) if line is not None and isinstance(line.get("path"), str) else None
    kind = FILES.get(path.suffix.lower()) if path is not None else None
    if path is None or kind is None or not path.is_file():
        raise HTTPException(404, "there is no such file any more")
    if kind in PICTURES.values():
        kept = {"cache-control": f"private, max-age={SECONDS_KEPT}"}
        return FileResponse(path, media_type=kind, headers=kept)
    return FileResponse(path, media_type=kind, filename=path.name)


@router.get("/events", response_class=EventSourceResponse)
async def all_events(studio: Studio) -> AsyncIterator[ServerSentEvent]:
    """Every job whenever something about it changes: first all of them, then each that does."""
    told: dict[int, str] = {}
    changed = -1
    while True:
        count, is_all = studio.supervisor.changes.count, changed != studio.jobs.changes
        changed = studio.jobs.changes
        # while only the running ones come further, nothing else is looked at
        jobs = await asyncio.to_thread(studio.supervisor.all if is_all else studio.supervisor.running)
        now = {job.id: json.dumps(shown(job)) for job in jobs}
        for number, text in now.items():
            if told.get(number) != text:
                yield ServerSentEvent(raw_data=text, event="job")
        for number in told.keys() - now.keys() if is_all else ():
            yield ServerSentEvent(data={"id": number}, event="removed")
        told = now if is_all else told | now
        await studio.supervisor.changes.after(count, SECONDS_ALIVE)
        await asyncio.sleep(SECONDS_BETWEEN_NEWS)


def _is_over(studio: Studio, number: int) -> bool:
    try:
        return studio.jobs.get(number).status not in ("queued", "running")
    except UserError:  # it was removed
        return True


def shown(job: Job) -> dict[str, Any]:
    """A job as lists show it: no places on this machine, instead of files their names, and no run card."""
    values = {name: getattr(job, name) for name in Job.__dataclass_fields__ if name != "hidden"}
    result = _without_places(job.result)
    return values | {"result": {name: each for name, each in result.items() if name != CARD} if result else result}


def public(line: dict[str, Any]) -> dict[str, Any]:
    """An event as the page sees it."""
    plain = {name: value for name, value in line.items() if name not in PRIVATE}
    if "path" in line:
        plain["file"] = Path(line["path"]).name
    if line["event"] == "Ended":
        plain.pop("result")  # the job has it
    return plain


def _without_places(result: Any) -> Any:
    if isinstance(result, dict):
        named = {"file": Path(result["path"]).name} if isinstance(result.get("path"), str) else {}
        return {name: _without_places(value) for name, value in result.items() if name not in PRIVATE} | named
    if isinstance(result, list):
        return [_without_places(value) for value in result]
    return result


__all__ = ["CANCEL", "FINISH", "KINDS", "PAUSE", "SKIP", "router"]
