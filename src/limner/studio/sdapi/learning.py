"""The webui's training of embeddings: blocking calls, whose answers say in `info` what came of them, right or wrong."""

from typing import Any

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import BaseModel, ConfigDict, Field

from limner.base import pocket
from limner.errors import UserError
from limner.studio.json_body import JSONRoute
from limner.studio.sdapi.checkpoints import find_checkpoint
from limner.studio.sdapi.drawing import done_job, forget
from limner.studio.sdapi.options import MODEL, options
from limner.studio.state import State, Studio

router = APIRouter(route_class=JSONRoute)

CREATED = "created embedding "  # before the name, in the options: what it starts from
# The webui's learning rate is of the vectors' numbers, the run's of those in units of their typical size, times a rate.
TYPICAL, RATE = 0.014, 20.0


class NewEmbedding(BaseModel):
    model_config = ConfigDict(extra="ignore")

    name: str = Field("", max_length=100)
    num_vectors_per_token: int = Field(1, ge=1, le=16)
    overwrite_old: bool = False
    init_text: str = Field("*", max_length=500)


class Training(BaseModel):
    """Those of the webui's fields that Limner has a counterpart of; the others are passed by, see docs/api.md."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    embedding_name: str = Field("", max_length=100)
    data_root: str = Field("", max_length=200, description="Number or name of a set of pictures, not a path.")
    steps: int = Field(1000, ge=1, le=1_000_000)
    learn_rate: float | str | None = None
    batch_size: int = Field(1, ge=1, le=64)
    gradient_step: int = Field(1, ge=1, le=1000)
    training_width: int | None = Field(None, ge=32, le=4096)
    training_height: int | None = Field(None, ge=32, le=4096)
    shuffle_tags: bool = False
    tag_drop_out: float = Field(0.0, ge=0, lt=1)


@router.post("/create/embedding")
async def create_embedding(asked: NewEmbedding, studio: Studio, request: Request) -> dict[str, str]:
    """Put a new word on the shelf, as the vectors of the words that it starts from."""
    initial = "" if asked.init_text.strip() == "*" else asked.init_text.strip()
    values = {
        "name": asked.name,
        "vectors": asked.num_vectors_per_token,
        "initial": initial,
        "overwrite": asked.overwrite_old,
        "base": await run_in_threadpool(_base, studio),
    }
    files, problem = await _done("embedding", values, studio, request)
    if problem:
        return {"info": f"create embedding error: {problem}"}
    start = {"vectors": asked.num_vectors_per_token, "initial": initial}
    await run_in_threadpool(studio.jobs.set_option, f"{CREATED}{asked.name}", start)
    return {"info": f"create embedding filename: {files}"}


@router.post("/train/embedding")
async def train_embedding(asked: Training, studio: Studio, request: Request) -> dict[str, str]:
    """Train a word that create/embedding made, from where it starts, and answer when that is done."""
    try:
        values = await run_in_threadpool(_training, asked, studio)
    except UserError as error:
        return {"info": f"train embedding error: {error}"}
    files, problem = await _done("train", values, studio, request)
    if problem:
        return {"info": f"train embedding error: {problem}"}
    return {"info": f"train embedding complete: filename: {files} error: None"}


async def _done(kind: str, values: dict[str, Any], studio: State, request: Request) -> tuple[str, str]:
    """The names of the files that a job made, or what was wrong."""
    try:
        job = await done_job(kind, values, studio, request)
    except HTTPException as error:
        return "", str(error.detail)
    forget(job, studio)
    files = ", ".join(file["name"] for file in (job.result or {}).get("files", []))
    return files, "" if files else "it was stopped before there was anything to keep"


def _training(asked: Training, studio: State) -> dict[str, Any]:
    """A TrainRequest. Raises UserError."""
    start = studio.jobs.options().get(f"{CREATED}{asked.embedding_name}")
    if start is None:
        raise UserError(
            f"there is no embedding {asked.embedding_name!r} that create/embedding made here; create it first, for "
            "Limner begins an embedding anew and does not go on from a file"
        )
    if asked.training_width != asked.training_height:
        raise UserError("training_width and training_height must be the same; Limner sorts other shapes by itself")
    more = {
        "steps": asked.steps,
        "batch_size": asked.batch_size,
        "gradient_accumulation": asked.gradient_step,
        "shuffle_captions": asked.shuffle_tags,
        "tag_dropout": asked.tag_drop_out,
        "embedding": start,
    }
    if asked.learn_rate is not None:
        more["learning_rate"] = _rate(asked.learn_rate)
    if asked.training_width is not None:
        more["resolution"] = asked.training_width
    return {
        "dataset": _dataset(asked.data_root, studio),
        "keyword": asked.embedding_name,
        "name": asked.embedding_name,
        "base": _base(studio),
        "method": "embedding",
        "more": more,
        "replace": True,
    }


def _rate(told: float | str) -> float:
    try:
        return float(told) / (TYPICAL * RATE)
    except ValueError:
        raise UserError("learn_rate must be one number; Limner's schedules are settings of its own") from None


def _dataset(name: str, studio: State) -> int:
    sets = studio.jobs.datasets()
    found = [each["id"] for each in sets if name.strip() in (str(each["id"]), each["name"])]
    if not found:
        known = ", ".join(f"{each['id']} ({each['name']})" for each in sets[:8]) or "none yet"
        raise UserError(
            f"data_root {name[:100]!r} is no set of pictures; give a set's number or name, no path: there is {known}"
        )
    return found[0]


def _base(studio: State) -> str:
    """The checkpoint that the options name; "" if it is the built-in one because nobody has set it."""
    found = find_checkpoint(studio, options(studio)[MODEL]).name
    return found if found != pocket.NAME or MODEL in studio.jobs.options() else ""
