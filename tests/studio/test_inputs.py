"""Pictures to start from and their masks: kept as long as something needs them, and given back with what was drawn."""

import base64
import io
import os
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw
from studio.served import BASE, Served

from limner.studio.gallery import Gallery
from limner.studio.inputs import SECONDS_KEPT, keep_input, tidy_inputs
from limner.studio.jobs import Jobs
from limner.studio.places import Places
from limner.studio.requests import InitRequest

SMALL = {"base": BASE, "prompt": "a fox", "steps": 2, "width": 64, "height": 64}


def encoded(image: Image.Image) -> bytes:
    data = io.BytesIO()
    image.save(data, "PNG")
    return data.getvalue()


def plain(colour: str) -> bytes:
    return encoded(Image.new("RGB", (64, 64), colour))


def left_half() -> bytes:
    mask = Image.new("L", (64, 64))
    ImageDraw.Draw(mask).rectangle((0, 0, 31, 63), fill=255)
    return encoded(mask)


def send(studio: Served, data: bytes) -> str:
    answer = studio.client.post("/api/inputs", content=data)
    assert answer.status_code == 201, answer.text
    return answer.json()["name"]


def drawn(studio: Served, **values: Any) -> list[dict[str, Any]]:
    """The new pictures of the gallery, the oldest first."""
    job = studio.until(studio.give("generate", **SMALL | values), "done", "failed")
    assert job["status"] == "done", job["error"]
    found = studio.get(f"/api/pictures?limit={values.get('count', 1)}")["pictures"]
    return found[::-1]


def pixels(studio: Served, picture: dict[str, Any]) -> Image.Image:
    data = studio.client.get(f"/api/pictures/{picture['id']}/file").content
    return Image.open(io.BytesIO(data)).convert("RGB")


def remove(studio: Served, picture: dict[str, Any]) -> None:
    assert studio.client.delete(f"/api/pictures/{picture['id']}").status_code == 204


def is_kept(studio: Served, name: str) -> bool:
    status = studio.client.get(f"/api/inputs/{name}").status_code
    assert status in (200, 404)
    return status == 200


def test_what_is_drawn_with_a_mask_is_drawn_again_from_its_request(studio: Served) -> None:
    start, mask = plain("red"), left_half()
    init = {
        "images": [send(studio, start)],
        "mask": send(studio, mask),
        "strength": 0.9,
        "resize": "stretch",
        "mask_invert": True,
        "mask_blur": 0.0,
        "fill": "noise",
        "only_masked": False,
        "padding": 8,
    }
    [picture] = drawn(studio, init=init, seed=3)
    assert picture["request"]["init"] == init
    assert picture["missing"] == []
    for name, data in zip((*init["images"], init["mask"]), (start, mask), strict=True):  # type: ignore[misc]
        answer = studio.client.get(f"/api/inputs/{name}")
        assert answer.content == data
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.headers["content-disposition"].startswith("attachment")
    image = pixels(studio, picture)
    assert set(image.crop((0, 0, 31, 64)).get_flattened_data()) == {(255, 0, 0)}
    redrawn = list(image.crop((32, 0, 64, 64)).get_flattened_data())
    assert redrawn.count((255, 0, 0)) < len(redrawn) / 10  # some pixel of random weights' may be any colour
    [again] = drawn(studio, **picture["request"])
    assert pixels(studio, again).tobytes() == image.tobytes()


def test_each_of_a_batch_names_what_it_was_drawn_from(studio: Served) -> None:
    names = [send(studio, plain(colour)) for colour in ("green", "blue")]
    pictures = drawn(studio, init={"images": names, "strength": 0.1}, count=3, batch_size=2, seed=5)
    assert [each["request"]["init"]["images"] for each in pictures] == [names[:1], names[1:], names[:1]]
    assert [each["request"]["seed"] for each in pictures] == [5, 6, 7]


def test_what_was_drawn_from_stays_as_long_as_a_picture_needs_it(studio: Served) -> None:
    name, mask = send(studio, plain("yellow")), send(studio, left_half())
    assert send(studio, plain("yellow")) == name
    [first] = drawn(studio, init={"images": [name], "mask": mask})
    [second] = drawn(studio, init={"images": [name]})
    remove(studio, first)
    assert is_kept(studio, name)
    remove(studio, second)
    assert not is_kept(studio, name)
    job = studio.until(studio.give("generate", **SMALL, init={"images": [name]}), "failed")
    assert "is not there any more; send it again" in job["error"]
    assert studio.client.get("/api/inputs/..%2fstudio.sqlite").status_code in (404, 422)


def test_a_picture_says_what_is_missing(studio: Served) -> None:
    name = send(studio, plain("purple"))
    [picture] = drawn(studio, init={"images": [name]})
    (studio.folder / "inputs" / name).unlink()
    assert studio.get(f"/api/pictures/{picture['id']}")["missing"] == [name]
    assert studio.get("/api/pictures?limit=1")["pictures"][0]["missing"] == [name]


def test_what_a_program_starts_from_is_kept_with_the_pictures_that_it_keeps(studio: Served) -> None:
    start = plain("orange")
    request = {"init_images": [base64.b64encode(start).decode()], "steps": 1, "width": 64, "height": 64, "prompt": "o"}
    before = set((studio.folder / "inputs").iterdir())
    studio.post("/sdapi/v1/img2img", request)
    assert set((studio.folder / "inputs").iterdir()) == before
    studio.post("/sdapi/v1/img2img", request | {"save_images": True})
    picture = studio.get("/api/pictures?limit=1")["pictures"][0]
    [name] = picture["request"]["init"]["images"]
    assert studio.client.get(f"/api/inputs/{name}").content == start
    assert picture["missing"] == []


def test_the_form_asks_all_that_is_declared(studio: Served) -> None:
    fields = [field["name"] for section in studio.get("/api/settings/init") for field in section["fields"]]
    assert {*fields, "images", "mask"} == InitRequest.model_fields.keys()


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path / "kept", tmp_path / "models")


def test_what_nobody_needs_goes_after_a_week_and_what_is_too_much_the_oldest_first(places: Places) -> None:
    gallery, jobs = Gallery(places), Jobs(places.database)
    names = [keep_input(places, bytes([number]) * 100) for number in range(5)]
    waiting, needed, *others = names
    jobs.add("generate", "draw", "", {"init": {"images": [waiting], "mask": None}})
    request = {"init": {"images": [needed], "mask": None}}
    gallery.add("x.png", width=1, height=1, seed=1, infotext="", request=request)
    now = time.time()

    def left(**bounds: int) -> set[str]:
        tidy_inputs(places, gallery, jobs, **bounds)
        return {path.name for path in places.inputs.iterdir()}

    for age, name in enumerate(reversed(names)):  # the one that a job waits for is the oldest
        os.utime(places.inputs / name, (now, now - age))
    assert left() == set(names)
    assert left(most=4) == {waiting, *others}
    assert left(most_bytes=399) == {waiting, *others[1:]}
    for name in (waiting, others[1]):
        os.utime(places.inputs / name, (now, now - SECONDS_KEPT - 60))
    assert left() == {waiting, others[2]}
    assert left(most=0) == {waiting}
    gallery.close()
    jobs.close()
