"""Trainings: their curves and what happened, their logs, two of them side by side, and the reports of comparisons."""

import sys
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, HTTPException
from fastapi.responses import PlainTextResponse, Response

from limner.studio.api.jobs import Found, public, shown
from limner.studio.differences import differences
from limner.studio.feed import EVENTS, read_feed
from limner.studio.json_body import JSONRoute
from limner.studio.names import of_the_studio
from limner.studio.places import LOG
from limner.studio.state import Studio

router = APIRouter(route_class=JSONRoute, tags=["runs"])

# Of which there are too many to tell one by one: curves and the job's progress say the same.
TOO_MANY = frozenset({"Step", "Measured", "Prepared", "Sampled", "Saved", "Progress", "Hashing", "Reading"})
MOST_LOG = 1 << 16  # bytes of a log's end
# A report is a page of its own, made from pictures and words of people: it may show itself, and nothing else.
SANDBOX = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'"
REPORTS = {"html": "text/html; charset=utf-8", "json": "application/json"}


@router.get("/jobs/{number}/history")
def history(job: Found, studio: Studio) -> dict[str, Any]:
    """A job so far. curves: {name: [[step, value], ...]}, thinned out. events: all but those that curves stand for.
    seq: of the last event that is in them; the stream of events goes on after it."""
    folder = studio.places.job(job.id)
    seq, events = 0, []
    for line in read_feed(folder / EVENTS):
        seq = line["seq"]
        if line["event"] not in TOO_MANY:
            events.append(public(line))
    return {"seq": seq, "curves": studio.histories.of(folder / "run" / "log.jsonl"), "events": events}


@router.get("/jobs/{number}/log", response_class=PlainTextResponse)
def log(job: Found, studio: Studio) -> str:
    """The end of what a job's worker printed, without places on this machine."""
    try:
        with (studio.places.job(job.id) / LOG).open("rb") as stream:
            stream.seek(max(0, stream.seek(0, 2) - MOST_LOG))
            text = stream.read().decode(errors="replace")
    except OSError:
        return ""
    places = {studio.places.root: "STUDIO", studio.places.models: "MODELS", Path(sys.prefix): "PYTHON"}
    for place, name in [*places.items(), (Path(__file__).parents[2], "LIMNER"), (Path.home(), "~")]:
        if place != Path(place.anchor):
            text = text.replace(str(place), name)
    return text


@router.get("/jobs/{number}/against/{other}")
def against(job: Found, other: int, studio: Studio) -> dict[str, Any]:
    """Two trainings, and in what they differ."""
    second = studio.supervisor.job(other)
    return {"jobs": [shown(job), shown(second)], "differences": differences(job, second)}


@router.get("/jobs/{number}/report.{ending}")
def report(job: Found, ending: Literal["html", "json"], studio: Studio) -> Response:
    """What a comparison of methods found."""
    path = studio.places.job(job.id) / "comparison" / f"report.{ending}"
    if not path.is_file():
        raise HTTPException(404, "there is no report yet")
    text = of_the_studio(path.read_text(encoding="utf-8"), studio.places)  # it says why a training failed
    return Response(text, headers={"content-security-policy": SANDBOX, "content-type": REPORTS[ending]})
