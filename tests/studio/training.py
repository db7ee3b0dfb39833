"""Trainings for the studio's tests: a set of pictures put where the studio has them, and a job of a few steps."""

from pathlib import Path
from typing import Any

from photos import photo
from safetensors.numpy import load_file
from studio.served import BASE, Served

from limner.studio.sets import PictureSet

SMALL = {
    "batch_size": 2, "resolution": 64, "crops": 0, "precision": "fp32", "previews": 0, "save_every": 3,
    "file_precision": "fp32", "milestones": 0, "measure_every": 0,
}  # fmt: skip


def add_set(studio: Served, count: int = 4) -> int:
    """The number of a new set of photos, put where an upload puts them, without the look that follows one."""
    number = studio.post("/api/datasets", {"name": "photos"})["id"]
    folder = PictureSet(studio.folder / "datasets" / str(number)).originals
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        photo(120, 120, index).save(folder / f"{index}.png")
    return number


def train(studio: Served, dataset: int | None, steps: int = 6, name: str = "", **more: Any) -> int:
    """The number of a new training."""
    request = {"keyword": "zqvx", "class": "dog", "base": BASE, "name": name, "dataset": dataset}
    return studio.give("train", **request, more=SMALL | {"steps": steps} | more)


def file_of(studio: Served, job: dict[str, Any], at: int = 0) -> Path:
    return studio.models / job["result"]["files"][at]["name"]


def tensors(path: Path) -> dict[str, bytes]:
    return {name: tensor.tobytes() for name, tensor in load_file(path).items()}
