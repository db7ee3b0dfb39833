"""What there is to say of the methods before one is chosen: settings, how good it was, how large its file is.

The methods themselves import torch, so their forms come from a file that `scripts/write_docs.py` writes from them.
"""

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from limner.base import pocket
from limner.config import KIND_FOLDERS, METHOD_NAMES
from limner.library.scan import shelf_root
from limner.library.store import Store
from limner.studio.jobs import Job, Jobs
from limner.studio.places import Places
from limner.studio.sizes import Shapes, file_bytes, shapes_of

FORMS = Path(__file__).parent / "methods.json"
# Mean likeness over the six subjects, and the best of them: docs/defaults.md, "What comes of them".
LIKENESS = {"lora": (0.31, 0.80), "dreambooth": (0.29, 0.72), "embedding": (-0.02, 0.29)}


@cache
def forms() -> dict[str, Any]:
    return json.loads(FORMS.read_text(encoding="utf-8"))


def missing_settings(method: str, given: Mapping[str, Any]) -> list[str]:
    """The settings of its own that a method cannot do without and that are not given."""
    sections = forms().get(method, {}).get("sections", [])
    required = [field["name"] for section in sections for field in section["fields"] if field.get("required")]
    return [name for name in required if given.get(name) in (None, "")]


def methods(jobs: Jobs, places: Places, base: str, dataset: int | None) -> list[dict[str, Any]]:
    """Every method: {name, about, kind, needs_images, sections, likeness, best, file_bytes, seconds, seconds_from}.

    sections: by the name of the table that they belong into. file_bytes: with the method's usual settings, None if it
    cannot be told. seconds: of a training on this base and machine, None if there was none: "tried" for these very
    pictures, "run" for others.
    """
    shapes = _shapes(places, base)
    done = [job for job in jobs.find(["done"], hidden=False) if job.kind in ("train", "dryrun")]
    told = []
    for name in ["lora", "dreambooth", "embedding", *sorted(forms().keys() - {"lora", "embedding"}), "pivotal"]:
        parts = METHOD_NAMES.get(name, name).split("+")
        found = [forms()[part] for part in parts]
        seconds, origin = _seconds(done, name, base, dataset)
        likeness, best = LIKENESS.get(name, (None, None))
        told.append(
            {
                "name": name,
                "about": found[-1]["about"],
                "kind": found[-1]["kind"],
                "needs_images": all(each["needs_images"] for each in found),
                "sections": {part: each["sections"] for part, each in zip(parts, found, strict=True)},
                "likeness": likeness,
                "best": best,
                "file_bytes": None if shapes is None else file_bytes(shapes, parts),
                "seconds": seconds,
                "seconds_from": origin,
            }
        )
    return told


def _seconds(done: list[Job], method: str, base: str, dataset: int | None) -> tuple[float | None, str]:
    """The latest figure; done: the latest first."""
    alike = [job for job in done if job.request["method"] == method and job.request["base"] == base]
    for job in alike:
        if job.kind == "dryrun" and job.request["dataset"] == dataset and job.result:
            return job.result.get("seconds"), "tried"
    for job in alike:
        if job.kind == "train" and job.started and job.ended:
            return job.ended - job.started, "run"
    return None, ""


def _shapes(places: Places, base: str) -> Shapes | None:
    """Of a base on the shelf, as far as its header tells."""
    if base in ("", pocket.NAME):
        return shapes_of(pocket.FOLDER)
    if not places.models.is_dir():
        return None
    with Store() as store:
        found = store.get(shelf_root(places.models), base)
    return None if found is None or found.kind not in KIND_FOLDERS else shapes_of(Path(found.path))
