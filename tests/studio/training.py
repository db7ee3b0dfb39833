"""Trainings for the studio's tests: a set of pictures put where the studio has them, and a job of a few steps."""

from pathlib import Path
from typing import Any

from safetensors.numpy import load_file
from studio.served import BASE, Served

import limner

SAMPLES = Path(limner.__file__).parent / "samples"
SMALL = {
    "batch_size": 2, "resolution": 64, "crops": 0, "precision": "fp32", "previews": 0, "save_every": 3,
    "file_precision": "fp32", "milestones": 0, "measure_every": 0,
}  # fmt: skip


def add_set(studio: Served, count: int = 4) -> int:
    """The number of a new set of pictures."""
    number = studio.post("/api/datasets", {"name": "some"})["id"]
    files = [("files", (path.name, path.read_bytes())) for path in sorted(SAMPLES.glob("*.png"))[:count]]
    assert studio.client.post(f"/api/datasets/{number}/files", files=files).status_code == 201
    return number


def train(studio: Served, dataset: int | None, steps: int = 6, name: str = "", **more: Any) -> int:
    """The number of a new training."""
    request = {"keyword": "zqvx", "class": "dog", "base": BASE, "name": name, "dataset": dataset}
    return studio.give("train", **request, more=SMALL | {"steps": steps} | more)


def file_of(studio: Served, job: dict[str, Any], at: int = 0) -> Path:
    return studio.models / job["result"]["files"][at]["name"]


def tensors(path: Path) -> dict[str, bytes]:
    return {name: tensor.tobytes() for name, tensor in load_file(path).items()}
