"""What can be trained from the studio beside a LoRA, and what is said where something is wrong."""

import pytest
from studio.served import BASE, Served
from studio.training import SMALL, add_set, tensors

from limner.studio.forms import in_words_of_forms


@pytest.mark.slow
@pytest.mark.slow
def test_two_methods_at_once_by_their_known_name_put_two_files_on_the_shelf(studio: Served) -> None:
    dataset = add_set(studio)
    request = {"keyword": "zqvx", "class": "dog", "base": BASE, "dataset": dataset, "method": "pivotal"}
    number = studio.give("train", **request, more=SMALL | {"steps": 2})
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    assert {file["name"] for file in job["result"]["files"]} == {"embeddings/zqvx.safetensors", "Lora/zqvx.safetensors"}
    shelf = {model["name"] for model in studio.get("/api/models")["models"]}
    assert {"embeddings/zqvx.safetensors", "Lora/zqvx.safetensors"} <= shelf


@pytest.mark.slow
def test_a_slider_needs_no_pictures(studio: Served) -> None:
    slider = {"positive": "a bright room", "negative": "a dark room", "pictures": 1}
    request = {"base": BASE, "method": "slider", "name": "brightness"}
    small = {name: value for name, value in SMALL.items() if name not in ("milestones", "measure_every")}
    number = studio.give("train", **request, more=small | {"steps": 2, "slider": slider})
    job = studio.until(number, "done", "failed")
    assert job["status"] == "done", job["error"]
    assert [file["name"] for file in job["result"]["files"]] == ["Lora/brightness.safetensors"]
    assert tensors(studio.models / "Lora" / "brightness.safetensors")


def test_what_is_wrong_with_a_form_is_told_by_the_names_of_its_fields(studio: Served) -> None:
    """At once, and no job is made of it."""
    dataset, before = add_set(studio), studio.get("/api/jobs")
    request = {"keyword": "zqvx", "class": "dog", "base": BASE, "name": "wrong", "dataset": dataset}
    request["more"] = SMALL | {"steps": 2, "warmup_steps": 5}
    answer = studio.client.post("/api/jobs", json={"kind": "train", "request": request})
    assert answer.status_code == 400
    assert "warmup_steps = 5 leaves nothing of steps = 2; make it smaller" in answer.json()["detail"]
    assert studio.get("/api/jobs") == before


def test_options_become_fields() -> None:
    said = "lower --batch-size or --resolution, or say --gradient-checkpointing; a--b and -- stay"
    told = 'lower "batch size" or "resolution", or say "gradient checkpointing"; a--b and -- stay'
    assert in_words_of_forms(said) == told
    assert in_words_of_forms("keyword is missing; give --keyword (see --help)") == 'keyword is missing; give "keyword"'
