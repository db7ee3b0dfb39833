"""An embedding by itself, and with a LoRA in one run: two files or one, and what prompts make of them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from training import same, small_run, snapshot

from limner import run
from limner.base.open import open_base
from limner.cli import main
from limner.config import ResumeSettings, read_training
from limner.container.header import read_tensors
from limner.errors import UserError
from limner.events import Event, Exported, Preview, Started, Step, Warned
from limner.formats import load_weights, save_weights, verify
from limner.generate import Request, generate
from limner.named import PromptFiles
from limner.run.outputs import prompt_files


@pytest.fixture(autouse=True)
def _place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIMNER_MODELS", raising=False)


@pytest.fixture
def values(tmp_path: Path, tiny_folder: Path) -> dict[str, Any]:
    """Settings of a training of three steps on two pictures."""
    others = {"steps": 3, "method": "pivotal", "file_precision": "fp32"}
    return small_run(tmp_path / "photos", [(70, 70)] * 2, tiny_folder, tmp_path / "cache", **others)


def begin(values: dict[str, Any], **changes: Any) -> Any:
    settings, tables = read_training(values | changes, "test")
    return run.train(settings, tables)


def of(events: list[Event], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def test_an_embedding_is_trained_written_and_said(values: dict[str, Any], tmp_path: Path, tiny_folder: Path) -> None:
    events = list(begin(values, method="embedding", previews=1, embedding={"vectors": 3}, file_precision="fp16"))
    (exported,) = of(events, Exported)
    assert read_tensors(exported.path)["emb_params"].dtype == torch.float32  # whatever is wished for other files
    assert not of(events, Warned)
    assert exported.path == tmp_path / "models" / "embeddings" / "zqvx.safetensors"
    assert set(exported.readers) == {"A1111", "Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers"}
    assert len(of(events, Preview)) == 1
    assert load_weights(exported.path).tensors["text_encoder"].shape == (3, 32)
    model = open_base(tiny_folder, torch.device("cpu"), torch.float32)
    (picture,) = generate(model, Request("a zqvx", steps=1, seed=1), prompt_files(tmp_path / "models"))
    assert "TI hashes: zqvx" in picture.infotext.replace('"', "")


def test_pivotal_writes_two_files_where_the_webui_looks_for_them(values: dict[str, Any], tmp_path: Path) -> None:
    events = list(begin(values))
    assert [each.path.relative_to(tmp_path / "models").as_posix() for each in of(events, Exported)] == [
        "embeddings/zqvx.safetensors",
        "Lora/zqvx.safetensors",
    ]
    first, second = of(list(begin(values, out=str(tmp_path / "mine" / "zqvx.safetensors"))), Exported)
    assert first.path == tmp_path / "mine" / "embeddings" / "zqvx.safetensors"
    assert second.path == tmp_path / "mine" / "zqvx.safetensors"
    assert first.path.read_bytes() == (tmp_path / "models/embeddings/zqvx.safetensors").read_bytes()


@pytest.mark.slow
def test_a_lora_can_bring_its_embedding_along(values: dict[str, Any], tmp_path: Path, tiny_folder: Path) -> None:
    list(begin(values, embedding={"rate": 500.0}))
    (exported,) = of(list(begin(values, bundle=True, out="one.safetensors", embedding={"rate": 500.0})), Exported)
    assert exported.readers == ("A1111",)
    model = open_base(tiny_folder, torch.device("cpu"), torch.float32)
    before = snapshot(model)

    def picture(prompt: str, files: PromptFiles) -> np.ndarray:
        (made,) = generate(model, Request(prompt, steps=1, seed=1), files)
        return np.asarray(made.image)

    apart = picture("a zqvx <lora:zqvx:1>", prompt_files(tmp_path / "models"))
    alone = PromptFiles(tmp_path / "one.safetensors")
    assert np.array_equal(picture("a zqvx <lora:one:1>", alone), apart)
    # a file of the embedding goes before the one in the LoRA's
    both = PromptFiles(tmp_path / "one.safetensors", embeddings=[tmp_path / "models" / "embeddings"])
    assert np.array_equal(picture("a zqvx <lora:one:1>", both), apart)
    assert same(snapshot(model), before)
    assert "zqvx" not in model.words
    bundled, plain = load_weights(tmp_path / "one.safetensors"), load_weights(tmp_path / "models/Lora/zqvx.safetensors")
    assert same(bundled.tensors, plain.tensors)
    assert list(bundled.words) == ["zqvx"]


def test_a_bundle_that_lost_its_embedding_is_not_kept(
    values: dict[str, Any], tmp_path: Path, tiny_folder: Path
) -> None:
    (exported,) = of(list(begin(values, bundle=True)), Exported)
    weights = load_weights(exported.path)
    words, weights.words = weights.words, {}
    path = tmp_path / "again.safetensors"
    model = open_base(tiny_folder, torch.device("cpu"), torch.float32)
    save_weights(weights, path, dtype=torch.float32)
    weights.words = words
    with pytest.raises(UserError, match="other embeddings"):
        verify(path, model, weights)


@pytest.mark.slow
def test_a_stopped_pivotal_run_ends_as_an_unbroken_one(values: dict[str, Any], tmp_path: Path) -> None:
    whole = [each.path.read_bytes() for each in of(list(begin(values)), Exported)]
    folder = Path()
    events = begin(values, overwrite=True, run="second")
    for event in events:
        folder = event.folder if isinstance(event, Started) else folder
        if isinstance(event, Step) and event.step == 1:
            break
    events.close()
    rest = list(run.resume(ResumeSettings(run=folder)))
    assert [event.step for event in of(rest, Step)] == [2, 3]
    assert [each.path.read_bytes() for each in of(rest, Exported)] == whole


def test_an_embedding_starts_from_the_class_and_is_told_apart_from_its_file(values: dict[str, Any]) -> None:
    events = list(begin(values, method="embedding", out="other.safetensors", learning_rate=1e-30))
    assert "prompts will call the embedding 'other'" in of(events, Warned)[-1].message
    model = open_base(values["base"], torch.device("cpu"), torch.float32)
    (dog,) = model.words.vocabularies["text_encoder"][model.tokenize("dog")]
    assert torch.equal(load_weights(Path("other.safetensors")).tensors["text_encoder"], dog.expand(4, -1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"keyword": "fox", "method": "embedding"}, "the vocabulary already has 'fox'"),
        ({"method": "lora", "bundle": True}, "does not train both"),
        ({"keyword": "z.q", "bundle": True}, "has a dot"),
        ({"method": "embedding+lora+embedding"}, "names embedding twice"),
    ],
)
def test_what_will_not_do_is_told_before_anything_is_encoded(
    values: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], said: str
) -> None:
    flat = values | changes
    options = [
        f"--{name.replace('_', '-')}={value}" for name, value in flat.items() if name not in ("images", "bundle")
    ]
    assert main(["train", flat["images"], *options, *(["--bundle"] if "bundle" in changes else [])]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "models").exists()
