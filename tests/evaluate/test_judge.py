"""Files of every kind judged on the tiny base: the figures mean what they say, and the model is left as it was."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPModel

from limner.base.model import BaseModel
from limner.base.pocket import FOLDER as POCKET
from limner.data.folder import Picture
from limner.errors import UserError
from limner.evaluate.clip import Clip
from limner.evaluate.fidelity import questions
from limner.evaluate.judge import Judge, Progress, evaluate_file, iterate_evaluation
from limner.evaluate.pictures import Learned
from limner.evaluate.protocol import Evidence, Protocol
from limner.evaluate.report import Report
from limner.formats import save_weights
from limner.generate import Request
from limner.methods.lora import LoRA, LoRAConfig
from limner.weights import Weights

PROTOCOL = Protocol(
    prompts=("a cat, fxm style", "a dog, fxm style"),
    class_prompts=("a cat",),
    unrelated=("a red car", "a clock"),
    request=Request(prompt="", steps=2, cfg_scale=2.0, seed=3, count=2),
)


@pytest.fixture
def write_lora(tiny_base: BaseModel, tmp_path: Path) -> Callable[[float], Path]:
    """A LoRA file whose changes have that size."""

    def write(size: float) -> Path:
        method = LoRA(LoRAConfig(rank=2))
        method.attach(tiny_base)
        weights = method.weights()
        method.detach()
        generator = torch.Generator().manual_seed(0)
        for name, tensor in weights.tensors.items():
            if name.endswith("lora_up"):
                weights.tensors[name] = torch.randn(tensor.shape, generator=generator) * size
        return save_weights(weights, tmp_path / f"size-{size}.safetensors", dtype=torch.float32).path

    return write


@pytest.fixture
def embedding(tmp_path: Path) -> Path:
    """An embedding of two loud vectors, in a file that is not called by its keyword."""
    vectors = torch.randn(2, 32, generator=torch.Generator().manual_seed(0)) * 3
    weights = Weights("embedding", "sd1", {"text_encoder": vectors}, {"modelspec.trigger_phrase": "fxm"}, name="fxm")
    return save_weights(weights, tmp_path / "other.safetensors", dtype=torch.float32).path


def evaluate(
    model: BaseModel,
    file: Path,
    pictures: list[Picture],
    protocol: Protocol = PROTOCOL,
    trained: set[str] | None = None,
) -> Report:
    return evaluate_file(model, Learned(file), Evidence.of(pictures, trained or set()), protocol)


def test_a_lora_that_changes_nothing_is_at_the_floor(
    tiny_base: BaseModel, references: list[Picture], write_lora: Callable[[float], Path]
) -> None:
    file = write_lora(0.0)
    report = evaluate(tiny_base, file, references)
    assert report.likeness.score == pytest.approx(report.likeness.floor)
    assert report.style.score == pytest.approx(report.style.floor)
    assert report.unrelated_drift == pytest.approx(0, abs=1e-6)
    assert report.class_drift == pytest.approx(0, abs=1e-6)
    assert report.prediction_drift == 0
    assert report.near_copies == 0
    assert (report.pictures, report.references, report.held_out) == (4, 6, False)
    assert (report.kind, report.size_bytes, report.fidelity) == ("lora", file.stat().st_size, None)


def test_a_lora_that_changes_much_drifts_and_the_base_stays(
    tiny_base: BaseModel, references: list[Picture], write_lora: Callable[[float], Path]
) -> None:
    before = {name: value.clone() for name, value in tiny_base.networks["unet"].state_dict().items()}
    learned, evidence = Learned(write_lora(1.0)), Evidence.of(references)
    *progress, report = iterate_evaluation(tiny_base, learned, evidence, PROTOCOL)
    assert isinstance(report, Report)
    assert report.unrelated_drift > 1e-4
    assert report.prediction_drift > 1e-3
    assert progress[-1] == Progress(20, 20)
    after = tiny_base.networks["unet"].state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    plain = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert plain["style"]["floor"] == report.style.floor
    assert "normalised" in plain["likeness"]
    assert plain["main"]["name"] == "likeness"
    assert report.lines()[1].startswith("likeness")


@pytest.mark.parametrize("word", ["fxm", pytest.param("other", marks=pytest.mark.slow)])
def test_an_embedding_is_called_by_its_keyword_or_its_file(
    word: str, tiny_base: BaseModel, references: list[Picture], embedding: Path
) -> None:
    protocol = replace(PROTOCOL, prompts=(f"a cat, {word} style", f"a dog, {word} style"))
    report = evaluate(tiny_base, embedding, references, protocol)
    assert report.kind == "embedding"
    assert report.likeness.score != pytest.approx(report.likeness.floor, abs=1e-7)
    assert report.unrelated_drift == pytest.approx(0, abs=1e-6)  # no prompt there says the word
    assert word not in tiny_base.words


def test_pictures_of_the_training_do_not_judge_where_others_can(references: list[Picture]) -> None:
    trained = {picture.sha256 for picture in references[:4]}
    evidence = Evidence.of(references, trained)
    assert (evidence.judges, evidence.seen, evidence.held_out) == (references[4:], references[:4], True)
    evidence = Evidence.of(references[:4], trained)
    assert (len(evidence.judges), evidence.held_out) == (4, False)


def test_pictures_that_told_when_to_stop_had_a_part_in_the_training(embedding: Path) -> None:
    learned = Learned(embedding)
    assert learned.images_sha256 == set()
    card = {"images_sha256": ["a", "b"], "held_out_sha256": ["c"], "settings": {"class": "style"}}
    learned.weights.metadata["limner.run_card"] = json.dumps(card)
    assert learned.images_sha256 == {"a", "b", "c"}
    assert learned.class_word == "style"


def test_a_style_is_compared_object_by_object_above_the_nearest_rival(
    tiny_base: BaseModel, references: list[Picture], write_lora: Callable[[float], Path]
) -> None:
    prompts = ("a cat, fxm style", "a dog, fxm style")
    plain = replace(PROTOCOL, prompts=prompts, subject="style", is_paired=True)
    two, file = references[:2], write_lora(1.0)
    alone = evaluate(tiny_base, file, two, plain)
    assert alone.by_object
    assert alone.main[0] == "style"
    rivals = (("a cat, flat style", "a dog, flat style"), ("a cat, glossy style", "a dog, glossy style"))
    above = evaluate(tiny_base, file, two, replace(plain, rivals=rivals))
    assert above.likeness.floor > alone.likeness.floor - 1e-9
    assert above.style.floor > alone.style.floor - 1e-9
    assert above.likeness.ceiling == pytest.approx(alone.likeness.ceiling)


def test_fidelity_is_a_share_of_the_bases(
    tiny_base: BaseModel, references: list[Picture], write_lora: Callable[[float], Path]
) -> None:
    protocol = replace(PROTOCOL, questions=questions("", "cat", False)[:3])  # the same prompts for both
    report = evaluate(tiny_base, write_lora(0.0), references, protocol)
    assert report.fidelity is not None
    assert report.fidelity.share == report.fidelity.base_share
    assert report.fidelity.kept in (None, 1.0)


def test_a_judge_goes_on_with_the_pictures_that_it_has(
    tiny_base: BaseModel, references: list[Picture], write_lora: Callable[[float], Path], tmp_path: Path
) -> None:
    learned, evidence = Learned(write_lora(1.0)), Evidence.of(references)

    def reports() -> Report:
        judge = Judge(tiny_base, evidence, PROTOCOL, tmp_path / "pictures")
        list(judge.prepare())
        *_, report = judge.judge(learned, "mine")
        assert isinstance(report, Report)
        return report

    first = reports()
    one = tmp_path / "pictures" / "mine" / "subject" / "01-4.png"
    stamp = {path: path.stat().st_mtime_ns for path in (tmp_path / "pictures").rglob("*.png")}
    assert len(stamp) == 20
    one.unlink()
    assert replace(reports(), seconds=0) == replace(first, seconds=0)
    again = {path for path, at in stamp.items() if path.stat().st_mtime_ns != at}
    assert again == {one, one.with_name("01-3.png")}


def test_clip_agrees_with_its_own_cosine(tmp_path: Path, references: list[Picture]) -> None:
    torch.manual_seed(0)
    small = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    marks = {"bos_token_id": 49406, "eos_token_id": 49407}
    config = CLIPConfig(
        text_config=small | marks | {"vocab_size": 49408},
        vision_config=small | {"image_size": 32, "patch_size": 8},
        projection_dim=16,
    )
    folder = tmp_path / "clip"
    CLIPModel(config).save_pretrained(folder)
    for path in (POCKET / "tokenizer").iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    clip = Clip(folder)
    images = [picture.open() for picture in references[:2]]
    together, one, other = (clip.agreement(each, "a cat") for each in (images, images[:1], images[1:]))
    assert together == pytest.approx((one + other) / 2, abs=1e-6)
    assert -1 <= together <= 1
    assert one != pytest.approx(clip.agreement(images[:1], "a boat on the sea"), abs=1e-6)
    with pytest.raises(UserError, match="leave --clip out"):
        Clip(tmp_path / "nowhere")


def test_what_cannot_be_judged_is_said(
    tiny_base: BaseModel, references: list[Picture], write_lora: Callable[[float], Path], tmp_path: Path
) -> None:
    file = write_lora(0.0)
    with pytest.raises(UserError, match="at least two images"):
        evaluate(tiny_base, file, references[:1])
    with pytest.raises(UserError, match="at least one prompt"):
        evaluate(tiny_base, file, references, Protocol(prompts=()))
    one = replace(PROTOCOL, prompts=("a cat",), request=replace(PROTOCOL.request, count=1))
    with pytest.raises(UserError, match="raise --count"):
        evaluate(tiny_base, file, references, one)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"nothing")
    with pytest.raises(UserError, match="broken"):
        Learned(broken)
