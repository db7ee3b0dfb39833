"""No answer names a place on this machine, whatever fails."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from studio.served import BASE, Served
from studio.training import add_set, train

from limner.studio.names import for_the_page, without_places
from limner.studio.places import Places

PLACES = Places(Path("/srv/li mner/studio"), Path("/srv/my models"))


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/srv/my models/Lora/a b.safetensors is damaged", "Lora/a b.safetensors is damaged"),
        ("/srv/li mner/studio/datasets/3/originals/x y/1.png is broken", "x y/1.png is broken"),
        ("none in /srv/li mner/studio/datasets/3/originals; add one", "none in the set of pictures; add one"),
        ("cannot write /srv/li mner/studio/jobs/12/run/run.toml: full", "cannot write run/run.toml: full"),
        ("/srv/my models is full", "the models folder is full"),
        ("No such file: '/usr/lib/nowhere/x.json'", "No such file: 'x.json'"),
        (f"cannot open {Path.home()}/.cache/x/y.bin", "cannot open .cache/x/y.bin"),
        *([said, said] for said in ("and/or 1/2", "https://huggingface.co/a/b", "ask /sdapi/v1/options")),
    ],
)  # fmt: skip
def test_paths_become_names(said: str, told: str) -> None:
    assert without_places(said, PLACES) == told


def test_options_and_places_at_once() -> None:
    assert for_the_page("cannot write /srv/my models/x; see --out", PLACES) == 'cannot write x; see "out"'


def all_that_is_told(studio: Served, number: int) -> str:
    job = studio.job(number)
    assert job["status"] == "failed", job
    stream = studio.client.get(f"/api/jobs/{number}/events").text
    return json.dumps([job, studio.get(f"/api/jobs/{number}/history")]) + stream


def places_in(studio: Served, told: str) -> list[str]:
    return [str(place) for place in (studio.folder, studio.models, studio.folder.parent) if str(place) in told]


def test_a_base_that_is_damaged(studio: Served) -> None:
    damaged = studio.models / "Stable-diffusion/damaged one.safetensors"
    damaged.write_bytes((studio.models / BASE).read_bytes()[:100_000])
    number = studio.give("generate", base="Stable-diffusion/damaged one.safetensors", prompt="a fox", steps=1)
    told = studio.until(number, "failed", "done")["error"]
    assert "damaged one.safetensors" in told
    assert not places_in(studio, all_that_is_told(studio, number))
    assert not places_in(studio, studio.client.get("/api/models").text.replace(json.dumps(str(studio.models)), ""))


@pytest.mark.slow
def test_pictures_that_cannot_be_read(studio: Served) -> None:
    dataset = add_set(studio, 1)
    originals = studio.folder / "datasets" / str(dataset) / "originals"
    for path in originals.iterdir():
        path.write_bytes(b"\x89PNG\r\n\x1a\n no more")
    number = train(studio, dataset, 2)
    assert studio.until(number, "failed", "done")["error"]
    assert not places_in(studio, all_that_is_told(studio, number))
    prepared = originals.parent / "prepared"
    shutil.rmtree(prepared, ignore_errors=True)
    prepared.write_text("in the way")
    number = train(studio, dataset, 2)
    assert studio.until(number, "failed", "done")["error"]
    assert not places_in(studio, all_that_is_told(studio, number))


@pytest.mark.slow
def test_a_shelf_that_cannot_be_written(start_studio: Callable[..., Served]) -> None:
    studio = start_studio()
    (studio.models / "Lora").write_text("in the way of the folder")
    number = train(studio, add_set(studio), 2, "nowhere")
    told = studio.until(number, "failed", "done")["error"]
    assert "Lora" in told
    assert not places_in(studio, all_that_is_told(studio, number))
