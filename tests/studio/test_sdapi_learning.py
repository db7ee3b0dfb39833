"""The webui's calls that train an embedding."""

import json
from typing import Any

import pytest
from safetensors.numpy import load_file
from studio.served import Served, wait
from studio.training import add_set

from limner.infotext import parse_infotext

WORD = "zqvx"


def post(studio: Served, path: str, **body: Any) -> Any:
    answer = studio.client.post(f"/sdapi/v1/{path}", json=body, timeout=400)  # on a busy machine a worker starts slowly
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def learning(studio: Served) -> Served:
    wait(lambda: len(studio.get("/sdapi/v1/sd-models")) == 2)
    said = post(studio, "create/embedding", name=WORD, num_vectors_per_token=2, init_text="a dog")
    assert said == {"info": f"create embedding filename: embeddings/{WORD}.safetensors"}
    return studio


def vectors(studio: Served) -> Any:
    (tensor,) = load_file(studio.models / "embeddings" / f"{WORD}.safetensors").values()
    return tensor


def test_a_new_word_is_on_the_shelf_and_in_prompts(learning: Served) -> None:
    assert vectors(learning).shape[0] == 2
    assert list(learning.get("/sdapi/v1/embeddings")["loaded"]) == [WORD]
    drawn = post(learning, "txt2img", prompt=f"a photo of {WORD}", steps=1, seed=1, sampler_name="Euler")
    (text,) = json.loads(drawn["info"])["infotexts"]
    assert parse_infotext(text).settings["TI hashes"].startswith(f"{WORD}: ")


def test_a_name_is_taken_once_unless_it_may_be_overwritten(learning: Served) -> None:
    again = post(learning, "create/embedding", name=WORD)["info"]
    assert again.startswith(f"create embedding error: there is an embedding {WORD} already; ")
    assert vectors(learning).shape[0] == 2
    for name in ("../up", "a/b", "dog", ""):
        assert "error" in post(learning, "create/embedding", name=name)["info"]
    assert sorted(path.name for path in (learning.models / "embeddings").glob("*.safetensors")) == [
        f"{WORD}.safetensors"
    ]
    made = post(learning, "create/embedding", name=WORD, num_vectors_per_token=2, init_text="a cat", overwrite_old=True)
    assert made["info"].startswith("create embedding filename")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"embedding_name": "nobody"}, "create/embedding"),
        ({"data_root": "/etc"}, "no set of pictures; give a set's number or name"),
        ({"learn_rate": "0.005:100, 1e-3:1000"}, "one number"),
        ({"training_height": 128}, "the same"),
    ],
)
def test_what_cannot_be_trained_is_said_in_info(learning: Served, change: dict[str, Any], said: str) -> None:
    asked = {"embedding_name": WORD, "data_root": "1", "steps": 1, "training_width": 64, "training_height": 64}
    if "data_root" not in change:
        add_set(learning)
    info = post(learning, "train/embedding", **asked | change)["info"]
    assert info.startswith("train embedding error: ")
    assert said in info


@pytest.mark.slow  # a training is a process of its own, and prepares its pictures first
def test_a_word_is_trained_on_a_set_by_its_name(learning: Served) -> None:
    add_set(learning)
    before = vectors(learning)
    asked = {"embedding_name": WORD, "data_root": "photos", "steps": 2, "learn_rate": 0.005, "batch_size": 2}
    told = post(learning, "train/embedding", **asked, training_width=64, training_height=64, log_directory="/tmp/x")
    assert told["info"] == f"train embedding complete: filename: embeddings/{WORD}.safetensors error: None"
    after = vectors(learning)
    assert after.shape == before.shape
    assert 0 < abs(after.astype(float) - before).max() < 0.1
    assert learning.get("/api/jobs") == []
