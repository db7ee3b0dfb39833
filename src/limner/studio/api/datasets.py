"""Sets of pictures: made, filled, looked through and edited. Pictures are asked for by number, never by a path."""

import threading
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse
from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from limner.captions.edits import Edits
from limner.captions.tags import split
from limner.data.caption import caption_for
from limner.data.folder import Picture
from limner.errors import UserError
from limner.preparation.choices import NO_MASK
from limner.studio.api.jobs import shown
from limner.studio.json_body import JSONRoute
from limner.studio.listing import listing
from limner.studio.sets import MOST_FILES, MOST_SET_BYTES, PictureSet, number_of
from limner.studio.state import State, Studio
from limner.studio.uploads import Limits, receive

router = APIRouter(route_class=JSONRoute, tags=["datasets"])

MOST_SETS = 1000
MOST_FILE_BYTES = 4 << 30  # of a file, as a zip; of one picture less is decoded
MOST_MASK_BYTES = 64 << 20
PNG = b"\x89PNG\r\n\x1a\n"
FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                }
            }
        },
    }
}
MASK = {"requestBody": {"required": True, "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}}}}


def _no_halves(text: str) -> str:
    """Raises ValueError for a half of a surrogate pair, which is no text."""
    text.encode()
    return text


Text = Annotated[str, AfterValidator(_no_halves)]
Line = Annotated[Text, StringConstraints(strip_whitespace=True, max_length=200, pattern=r"^[^\x00-\x1f\x7f]*$")]
_changing = threading.Lock()  # a set's files of choices are read, changed and written by one request at a time


class Wishes(BaseModel):
    """What the pictures are to be used for; what is left out stays as it was."""

    name: Line | None = Field(None, min_length=1, description="What the set is called.")
    keyword: Annotated[Line, Field(max_length=100)] | None = Field(None, description="The subject's word in prompts.")
    class_word: Annotated[Line, Field(max_length=100)] | None = Field(
        None, alias="class", description="What the subject is, as in dog or style."
    )
    base: Line | None = Field(None, description="A model by its name on the shelf, or pocket.")
    method: Line | None = Field(None, description="What will be trained.")


class Choices(BaseModel):
    """What a person decides of a picture. What is left out stays; null leaves it to Limner again."""

    keep: bool | None = Field(None, description="Train on it whatever speaks against it, or leave it out.")
    crop: tuple[float, float, float, float] | None = Field(
        None, description="Left, top, right and bottom of what is kept, in shares of the picture's sides."
    )
    caption: Annotated[Text, Field(max_length=5000)] | None = Field(None, description="What it is called.")
    mask: Literal["none"] | None = Field(None, description="none, or null for the one that Limner finds.")


class CaptionEdits(BaseModel):
    """Edits of the captions of all pictures that are kept. write: False only shows what they would do."""

    add: Text = Field("", max_length=1000, description="Tags at the end, split at commas, where they are not there.")
    remove: Text = Field("", max_length=1000, description="Tags to take out, split at commas.")
    find: Text = Field("", max_length=1000, description="Words to replace, in any case.")
    put: Text = Field("", max_length=1000, description="What they are replaced by.")
    write: bool = False


class Numbers(BaseModel):
    numbers: list[int] = Field(min_length=1, max_length=MOST_FILES, description="Pictures.")


@router.get("/datasets")
def list_sets(studio: Studio) -> list[dict[str, Any]]:
    """All sets of pictures, the latest first."""
    return [_brief(studio, each) for each in studio.jobs.datasets()]


@router.post("/datasets", status_code=201)
def make_set(wishes: Wishes, studio: Studio) -> dict[str, Any]:
    """An empty set."""
    if len(studio.jobs.datasets()) >= MOST_SETS:
        raise UserError(f"there are {MOST_SETS:,} sets already; remove some first")
    number = studio.jobs.add_dataset(wishes.name or "pictures")
    made = PictureSet(studio.places.dataset(number))
    made.originals.mkdir(parents=True, exist_ok=True)
    made.change({})  # from now on the file of choices is there, and only changed
    _wish(made, wishes)
    return _brief(studio, studio.jobs.dataset(number))


@router.get("/datasets/{number}")
def one_set(number: int, studio: Studio) -> dict[str, Any]:
    """A set with its pictures: what was found, what is proposed, and what the person decided."""
    about, pictures = _set(studio, number)
    return about | {"wishes": pictures.wishes()} | listing(pictures)


@router.patch("/datasets/{number}")
def change_set(number: int, wishes: Wishes, studio: Studio) -> dict[str, Any]:
    """Rename a set, or say what it is to be used for."""
    _, pictures = _set(studio, number)
    if wishes.name:
        studio.jobs.rename_dataset(number, wishes.name)
    _wish(pictures, wishes)
    return _brief(studio, studio.jobs.dataset(number))


@router.delete("/datasets/{number}", status_code=204)
async def remove_set(number: int, studio: Studio) -> None:
    """Remove a set with its pictures; what was trained on it stays."""
    _, pictures = _set(studio, number)
    _end_jobs(studio, number)
    studio.jobs.remove_dataset(number)
    await run_in_threadpool(pictures.destroy)


@router.post("/datasets/{number}/files", status_code=201, openapi_extra=FORM, max_body_size=MOST_SET_BYTES)
async def upload(number: int, request: Request, studio: Studio) -> dict[str, Any]:
    """Add pictures, what belongs to them (captions, masks), or zips of such; they are looked at afterwards."""
    _, pictures = _set(studio, number)
    have = await run_in_threadpool(lambda: [path.stat().st_size for path in pictures.files()])
    limits = Limits(MOST_FILES - len(have), MOST_SET_BYTES - sum(have), MOST_FILE_BYTES)
    with pictures.incoming() as folder:
        files = await receive(request.headers.get("content-type", ""), request.stream(), folder, limits)
        if not files:
            raise HTTPException(400, "the form holds no file; choose pictures")
        try:
            added = await run_in_threadpool(pictures.add, files)
        except OSError as error:
            raise HTTPException(507, f"the files cannot be kept ({error.strerror}); make room on the disk") from error
    job = start_check(studio, number, pictures) if added.added or added.zips else None
    return {
        "added": len(added.added),
        "zips": added.zips,
        "same": added.same,
        "skipped": [{"name": name, "why": why} for name, why in added.skipped[:100]],
        "job": job,
    }


@router.post("/datasets/{number}/check", status_code=201)
async def check_set(number: int, studio: Studio) -> dict[str, Any] | None:
    """Look at the pictures again, for what they are wished for now."""
    _, pictures = _set(studio, number)
    return start_check(studio, number, pictures)


@router.post("/datasets/{number}/remove")
async def remove_pictures(number: int, numbers: Numbers, studio: Studio) -> dict[str, Any]:
    """Remove pictures from a set, with their captions and masks."""
    _, pictures = _set(studio, number)
    removed = await run_in_threadpool(_remove, pictures, set(numbers.numbers))
    return {"removed": removed, "job": start_check(studio, number, pictures)}


@router.post("/datasets/{number}/captions")
def change_captions(number: int, edits: CaptionEdits, studio: Studio) -> dict[str, Any]:
    """Change the captions of all pictures that are kept; what comes of it is a caption by hand."""
    _, pictures = _set(studio, number)
    words, others = edits.find.strip(), edits.put.strip()
    asked = Edits(((words, others),) if words else (), tuple(split(edits.remove)), tuple(split(edits.add)))
    wishes = pictures.wishes()
    keyword = wishes.get("keyword", "")
    own = caption_for(Picture(Path(), "", 1, 1), keyword, wishes.get("class", ""))
    changes = []
    with _changing:
        for each in listing(pictures)["pictures"]:
            before = own if each["caption_from"] in ("", "template") else each["caption"]
            if asked.adds and each["kept"] and not before:
                raise UserError(
                    "there are images without a caption: say the keyword or the class first, so that what you add does "
                    "not become their whole caption"
                )
            after = _one_line(asked.apply(before, keyword)) if each["kept"] else each["caption"]
            if after and after != each["caption"]:
                changes.append({"name": each["name"], "before": each["caption"], "after": after})
        if edits.write and changes:
            pictures.change({each["name"]: {"caption": each["after"]} for each in changes})
    return {"changes": changes}


@router.patch("/datasets/{number}/pictures/{picture}")
def change_picture(number: int, picture: int, choices: Choices, studio: Studio) -> dict[str, Any]:
    """Decide of a picture; returns it as it is now."""
    _, pictures = _set(studio, number)
    name = pictures.name(picture)
    said = {key: getattr(choices, key) for key in choices.model_fields_set}
    if "caption" in said:
        said["caption"] = _one_line(said["caption"] or "") or None
    if said.get("crop") is not None:
        said["crop"] = _inside(said["crop"])
    with _changing:
        if said.get("mask") == NO_MASK:
            pictures.keep_mask(name, None)
        pictures.change({name: said})
    return listing(pictures, name)["pictures"][0]


@router.put("/datasets/{number}/pictures/{picture}/mask", openapi_extra=MASK, max_body_size=MOST_MASK_BYTES)
async def give_mask(number: int, picture: int, request: Request, studio: Studio) -> dict[str, Any]:
    """Take a PNG as a picture's mask: of its size, white where it counts."""
    _, pictures = _set(studio, number)
    name = pictures.name(picture)
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
    if not data.startswith(PNG):
        raise UserError("a mask is a PNG file, of the picture's size, white where it counts; this is none")
    with _changing:
        pictures.keep_mask(name, bytes(data))
    return listing(pictures, name)["pictures"][0]


@router.get("/datasets/{number}/pictures/{picture}/{what}")
def picture_file(number: int, picture: int, what: Literal["thumbnail", "view", "mask"], studio: Studio) -> FileResponse:
    """A small copy of a picture, a larger one to edit by, or the mask that was drawn."""
    _, pictures = _set(studio, number)
    path = {"thumbnail": pictures.thumbnail, "view": pictures.view, "mask": pictures.mask}[what](picture)
    if not path.is_file():
        raise HTTPException(404, f"there is no {what} of this picture")
    kind = "image/png" if what == "mask" else "image/webp"
    return FileResponse(path, media_type=kind, headers={"cache-control": "no-cache"})


def start_check(studio: State, number: int, pictures: PictureSet) -> dict[str, Any] | None:
    """Put a check of a set into the queue, unless one waits there; those that have ended are forgotten."""
    about = studio.jobs.dataset(number)
    for job in studio.jobs.find(["queued"]):
        if job.kind == "check" and job.request["dataset"] == number:
            return shown(job)
    for job in studio.jobs.find(["done", "failed", "cancelled", "paused"]):
        if job.kind == "check" and job.request["dataset"] == number:
            studio.supervisor.remove(job.id)
    return shown(studio.supervisor.give("check", {"dataset": number} | pictures.wishes(), f"check {about['name']}"))


def _set(studio: State, number: int) -> tuple[dict[str, Any], PictureSet]:
    """Raises HTTPException: 404 if there is no such set."""
    try:
        about = studio.jobs.dataset(number)
    except UserError as problem:
        raise HTTPException(404, str(problem)) from problem
    return about, PictureSet(studio.places.dataset(number))


def _brief(studio: State, about: dict[str, Any]) -> dict[str, Any]:
    pictures = PictureSet(studio.places.dataset(about["id"]))
    sources = pictures.sources()
    cover = next((n for n in map(number_of, (source.name for source in sources)) if pictures.thumbnail(n).exists()), 0)
    return about | {"pictures": len(sources), "cover": cover or None}


def _remove(pictures: PictureSet, numbers: set[int]) -> int:
    """Remove the pictures of these numbers; returns how many there were. Raises UserError if there are none."""
    names = [source.name for source in pictures.sources() if number_of(source.name) in numbers]
    if not names:
        raise UserError("there are no such pictures in this set any more; load the page again")
    with _changing:
        pictures.remove(names)
    return len(names)


def _wish(pictures: PictureSet, wishes: Wishes) -> None:
    said = wishes.model_dump(by_alias=True, exclude_none=True, exclude={"name"})
    with _changing:
        pictures.keep_wishes(pictures.wishes() | said)


def _end_jobs(studio: State, number: int) -> None:
    """Forget the jobs of a set that is to be removed. Raises UserError if one is being done."""
    for job in studio.jobs.find(["running", "queued"]):
        if job.request.get("dataset") == number:
            if job.kind != "check" or job.status == "running":
                raise UserError(f"{job.title} needs this set; cancel job {job.id}, or wait for it")
            studio.supervisor.ask(job.id, "cancel")


def _one_line(text: str) -> str:
    """Without line breaks and what else is no letter, sign or space."""
    return " ".join("".join(c for c in text if c.isprintable() or c.isspace() or c == "\u200d").split())


def _inside(crop: tuple[float, float, float, float]) -> list[float]:
    """A crop in whole thousandths of a percent. Raises UserError if it is none."""
    left, top, right, bottom = (round(min(max(side, 0.0), 1.0), 5) for side in crop)
    if right - left < 0.01 or bottom - top < 0.01:
        raise UserError(f"the crop {list(crop)} is no part of a picture; give left, top, right, bottom in shares of it")
    return [left, top, right, bottom]
