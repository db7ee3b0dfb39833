"""Sets of pictures in a studio of tests: made, filled, waited for."""

import io
from typing import Any

from PIL import Image
from studio.served import Served


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def make(studio: Served, **wishes: Any) -> int:
    return studio.post("/api/datasets", {"name": "test"} | wishes)["id"]


def send(studio: Served, number: int, files: dict[str, bytes]) -> Any:
    answer = studio.client.post(
        f"/api/datasets/{number}/files", files=[("files", (name, data)) for name, data in files.items()]
    )
    assert answer.status_code == 201, answer.text
    return answer.json()


def checked(studio: Served, number: int, job: Any) -> dict[str, dict[str, Any]]:
    """The set's pictures by name, after its check."""
    done = studio.until(job["id"], "done", "failed")
    assert done["status"] == "done", done["error"]
    return {each["name"]: each for each in studio.get(f"/api/datasets/{number}")["pictures"]}
