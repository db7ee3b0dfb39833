"""How far drawing is, and the words that stop it."""

from contextlib import suppress
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.concurrency import run_in_threadpool

from limner.errors import UserError
from limner.studio.control import CANCEL, FINISH, SKIP
from limner.studio.feed import PREVIEW
from limner.studio.jobs import Job
from limner.studio.json_body import JSONRoute
from limner.studio.sdapi.pictures import encoded
from limner.studio.state import State, Studio

router = APIRouter(route_class=JSONRoute)

LANE = "draw"
ENDS_EARLY = ("generate", "train")  # kinds of jobs that can end with what there is


@router.get("/progress")
async def progress(
    studio: Studio, skip_current_image: Annotated[bool, Query(description="Leave the picture out.")] = False
) -> dict[str, Any]:
    """Of the job that is drawn now; job_count counts those that wait as well, and is 0 when nothing is to be done."""
    at_work = studio.supervisor.at_work(LANE)
    waiting = studio.jobs.waiting(LANE)
    if not at_work:
        return _told(None, waiting)
    picture = None if skip_current_image else await run_in_threadpool(_preview, studio, at_work[0])
    return _told(at_work[0], waiting) | {"current_image": picture}


@router.post("/interrupt")
async def interrupt(studio: Studio) -> dict[str, str]:
    """End what is drawn, or trained for a program, with what there is."""
    for job in (*studio.supervisor.at_work(LANE), *_hidden_trainings(studio)):
        with suppress(UserError):  # it has ended this moment
            studio.supervisor.ask(job.id, FINISH if job.kind in ENDS_EARLY else CANCEL)
    return {}


@router.post("/skip")
async def skip(studio: Studio) -> None:
    """Leave the picture that is drawn as it is, and begin the next."""
    for job in studio.supervisor.at_work(LANE):
        with suppress(UserError):
            studio.supervisor.ask(job.id, SKIP)


def _hidden_trainings(studio: State) -> list[Job]:
    return [job for job in studio.supervisor.at_work("train") if job.hidden]


def _told(job: Job | None, waiting: int) -> dict[str, Any]:
    """The webui's shape. Pictures that are drawn together count as one of its jobs."""
    state: dict[str, Any] = {
        "skipped": False,
        "interrupted": False,
        "stopping_generation": False,
        "job": "",
        "job_count": waiting,
        "job_timestamp": "0",
        "job_no": 0,
        "sampling_step": 0,
        "sampling_steps": 0,
    }
    told = {"progress": 0.0, "eta_relative": 0.0, "state": state, "current_image": None, "textinfo": None}
    if job is None:
        return told
    pictures = job.request.get("count", 1)
    together = job.request.get("batch_size", 1)
    batches = -(-pictures // together)
    at = job.progress if job.progress.get("what") == "drawing" else {}
    done, total = at.get("done", 0), at.get("total", 0)
    steps = total // pictures if pictures else 0
    batch, step = divmod(done, steps) if steps else (0, 0)
    asked = job.progress.get("asked", "")
    state |= {
        "skipped": asked == SKIP,
        "interrupted": asked in (FINISH, CANCEL),
        "job": "scripts_txt2img" if job.request.get("init") is None else "scripts_img2img",
        "job_count": batches + waiting,
        "job_timestamp": str(int(job.started or job.created)),
        "job_no": batch // together,
        "sampling_step": step,
        "sampling_steps": steps,
    }
    share = (batch + together * step / max(steps, 1)) / pictures if pictures else 0.0
    return told | {
        "progress": min(max(share, 0.01), 1.0),
        "eta_relative": job.progress.get("seconds_left") or 0.0,
        "textinfo": None if steps else "Waiting...",
    }


def _preview(studio: State, job: Job) -> str | None:
    """What the picture is so far, if the worker has drawn that."""
    try:
        return encoded((studio.places.job(job.id) / PREVIEW).read_bytes())
    except OSError:
        return None
