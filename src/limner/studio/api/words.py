"""What a prompt can say here: names of LoRAs and embeddings, keywords, and how it can be drawn."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from limner.library.shelf import ShelfFile
from limner.samplers import AUTOMATIC, FLOW, SAMPLERS
from limner.studio.json_body import JSONRoute
from limner.studio.state import State, Studio

router = APIRouter(route_class=JSONRoute, tags=["words"])

MOST_JOBS = 200  # whose keywords are offered


@router.get("/words")
def words(
    studio: Studio,
    q: Annotated[str, Query(max_length=200, description="How the word begins, or what is in a LoRA's name.")] = "",
    type: Annotated[str, Query(pattern="^(lora|embedding|keyword|)$", description="Only of this kind.")] = "",
    limit: Annotated[int, Query(ge=1, le=100)] = 12,
) -> list[dict[str, Any]]:
    """What completes a prompt: [{kind, text: what is put there, name, keywords, family, preview: the model's name}]."""
    studio.shelf.watched()
    found: list[dict[str, Any]] = []
    with studio.shelf.store() as store:
        for kind in ("lora", "embedding"):
            if type in ("", kind):
                files = store.find(studio.shelf.root, q, [kind], limit=limit)
                found += [_row(file) for file in files if not file.problem]
    if type in ("", "keyword"):
        found += _keywords(studio, q.casefold())
    return sorted(found, key=lambda row: not row["name"].casefold().startswith(q.casefold()))[:limit]


@router.get("/samplers")
def samplers() -> list[dict[str, Any]]:
    """[{name, schedules: that it can follow, most_steps, flow: whether it can draw with models of flows}]."""
    return [
        {
            "name": name,
            "schedules": [AUTOMATIC, *sampler.schedules] if sampler.schedules else [AUTOMATIC],
            "most_steps": sampler.max_steps,
            "flow": name in FLOW,
        }
        for name, sampler in SAMPLERS.items()
    ]


def _row(file: ShelfFile) -> dict[str, Any]:
    name = file.path.stem
    text = f"<lora:{name}:1>" if file.kind == "lora" else name
    return {
        "kind": file.kind,
        "text": text,
        "name": name,
        "keywords": list(file.keywords) if file.kind == "lora" else [],
        "family": file.family,
        "preview": file.name if file.preview else None,
    }


def _keywords(studio: State, begin: str) -> list[dict[str, Any]]:
    """Of trainings that are done, the latest first."""
    jobs = studio.jobs.find(["done"], limit=MOST_JOBS)
    said = [str(job.request.get("keyword", "")) for job in jobs if job.kind == "train"]
    plain: dict[str, Any] = {"kind": "keyword", "keywords": [], "family": "", "preview": None}
    return [
        plain | {"text": word, "name": word}
        for word in dict.fromkeys(said)
        if word and word.casefold().startswith(begin)
    ]
