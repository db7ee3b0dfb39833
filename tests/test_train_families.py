"""Training on every family: what XL is told of pictures and captions, both its encoders, and whole runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from bases import save_tiny
from PIL import Image
from training import examples, run, small_run

from limner import diffusion
from limner import run as runs
from limner.base.conditioning import Conditioning
from limner.base.families import FAMILIES, UNETS
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.config import read_training
from limner.data.batch import Batches, Example, collate
from limner.data.cache import Examples, ask, encode_caption
from limner.data.crop import centre_crop, crops_for, sizes
from limner.data.dataset import Item
from limner.data.folder import Picture, load_folder
from limner.device import generator
from limner.evaluate import online
from limner.evaluate.milestone import Eyes
from limner.evaluate.pictures import encode
from limner.events import Done, Exported, Measured
from limner.generate import Request, generate
from limner.methods.embedding import Embedding, EmbeddingConfig
from limner.methods.full import Full, FullConfig
from limner.methods.lora import LoRA, LoRAConfig
from limner.named import PromptFiles
from limner.train import Plan

Folders = Callable[[str], Path]
CPU = torch.device("cpu")
ENCODERS = ("text_encoder", "text_encoder_2")


@pytest.fixture
def xl(tiny_folders: Folders) -> BaseModel:
    return open_base(tiny_folders("sdxl"), CPU, torch.float32)


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number, size in enumerate([(128, 96), (200, 100)]):
        Image.effect_noise(size, 60 + number).convert("RGB").save(folder / f"{number}.png")
    return load_folder(folder).pictures


# --- sizes and pooled texts ---


def test_sizes_are_the_pictures_what_was_cut_off_and_the_crops() -> None:
    wide = Picture(Path("a.png"), "ab" * 32, 2000, 1000)
    assert sizes(wide, centre_crop(wide, 64, 64)) == (1000, 2000, 0, 32, 64, 64)
    tall = Picture(Path("a.png"), "ab" * 32, 1000, 2000)
    assert sizes(tall, centre_crop(tall, 64, 64)) == (2000, 1000, 32, 0, 64, 64)
    for crop in crops_for(wide, 512, 3, seed=1, mirror=True):
        height, width, top, left, *target = sizes(wide, crop)
        assert (height, width, target) == (1000, 2000, [crop.height, crop.width])
        seen = crop.box[0] if not crop.mirrored else 2000 - crop.box[2]
        assert left == pytest.approx(seen * crop.enlargement, abs=0.5)
        assert top == pytest.approx(crop.box[1] * crop.enlargement, abs=0.5)


def cached(model: BaseModel, pictures: list[Picture], cache: Path, text: bool = True) -> list[Example]:
    items = [Item(picture, f"zqvx dog {number}", crops=1) for number, picture in enumerate(pictures)]
    return list(Examples(model, items, 64, 0, cache, text=text))


def test_captions_are_cached_with_their_pooled_state(xl: BaseModel, pictures: list[Picture], tmp_path: Path) -> None:
    first = cached(xl, pictures, tmp_path / "cache")
    xl.encode_prompts = None  # type: ignore[assignment, method-assign]  # all comes from the cache
    again = cached(xl, pictures, tmp_path / "cache")
    for one, other in zip(first, again, strict=True):
        assert one.conditioning is not None
        assert other.conditioning is not None
        assert {name: tuple(t.shape) for name, t in one.conditioning.tensors.items()} == {
            "hidden_states": (1, 77, 80),
            "pooled": (1, 48),
        }
        assert all(torch.equal(t, other.conditioning.tensors[name]) for name, t in one.conditioning.tensors.items())
        assert one.sizes == other.sizes
    assert first[0].conditioning.pooled is not None
    assert not torch.equal(first[0].conditioning.pooled, first[-1].conditioning.pooled)  # type: ignore[union-attr]


def told_to(model: BaseModel, batch: Any) -> Conditioning:
    """What the network is told when the loss of a batch is computed."""
    found = []
    predict = model.predict

    def note(latents: torch.Tensor, timesteps: torch.Tensor, told: Conditioning) -> torch.Tensor:
        found.append(told)
        return predict(latents, timesteps, told)

    model.predict = note  # type: ignore[method-assign]
    diffusion.loss(model, batch, generator(1))
    model.predict = predict  # type: ignore[method-assign]
    return found[0]


@pytest.mark.parametrize("text", [True, False])
def test_the_network_is_told_the_crops_sizes(
    xl: BaseModel, pictures: list[Picture], tmp_path: Path, text: bool
) -> None:
    learned = cached(xl, pictures, tmp_path / "cache", text)[:1]
    told = told_to(xl, collate(learned))
    assert told.sizes is not None
    assert told.sizes.tolist() == [[96, 128, 6, 0, 48, 80]]
    assert told.pooled is not None
    whole = diffusion.loss(xl, collate(learned), generator(1))
    elsewhere = [
        Example(one.latents, one.caption, one.conditioning, sizes=(900, 900, 300, 5, 48, 80)) for one in learned
    ]
    assert diffusion.loss(xl, collate(elsewhere), generator(1)) != whole


@pytest.mark.parametrize("live", [True, False])
def test_dropped_captions_are_no_text_at_all(xl: BaseModel, tmp_path: Path, live: bool) -> None:
    empty = None if live else encode_caption(xl, "", tmp_path / "cache")
    batch = Batches(examples(xl, live_text=live), 2, seed=0, dropout=1.0, empty=empty).at(0)
    assert batch.captions == ["", ""]
    told = told_to(xl, batch)
    assert told.pooled is not None
    assert not told.hidden_states.any()
    assert not told.pooled.any()


def test_an_answer_is_filed_under_all_that_was_told(xl: BaseModel, tmp_path: Path) -> None:
    noisy = torch.randn(4, 8, 8, generator=generator(2))
    told = encode_caption(xl, "a dog", tmp_path / "cache").with_sizes((64, 64, 0, 0, 64, 64))
    other = Conditioning(told.hidden_states, -told.pooled, told.sizes)  # type: ignore[operator]
    moved = told.with_sizes((64, 64, 32, 0, 64, 64))
    answers = [ask(xl, noisy, 400, each, tmp_path / "cache") for each in (told, other, moved, told)]
    assert torch.equal(answers[0], answers[3])
    assert not torch.equal(answers[0], answers[1])
    assert not torch.equal(answers[0], answers[2])
    assert torch.equal(answers[2], xl.predict(noisy[None], torch.tensor([400]), moved)[0])


# --- methods ---


def test_a_lora_of_the_text_trains_both_encoders(xl: BaseModel) -> None:
    method = LoRA(LoRAConfig(rank=2, text_encoder=True))
    run(xl, Plan(steps=2, learning_rate=1e-2), [method], live_text=True)
    modules = method.weights().modules()
    for encoder in ENCODERS:
        own = {name: leaves for name, leaves in modules.items() if name.startswith(f"{encoder}.")}
        assert {name.rpartition(".")[2] for name in own} == {"q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2"}
        assert len(own) == 2 * 6
        # XL reads the first encoder's last layer but one, so that nothing tells its last layer what to learn
        learns = [name for name, leaves in own.items() if leaves["lora_up"].any()]
        assert len(learns) == (6 if encoder == "text_encoder" else 12)


def test_an_embedding_has_vectors_for_each_encoder_and_starts_from_each_ones_words(xl: BaseModel) -> None:
    method = Embedding(EmbeddingConfig(keyword="zqvx", vectors=3, initial="dog", max_norm=0.5))
    method.attach(xl)
    dog = xl.tokenize("dog")[0]
    for encoder, width in zip(ENCODERS, (32, 48), strict=True):
        vectors = method.state()[encoder]
        assert vectors.shape == (3, width)
        torch.testing.assert_close(vectors[0].detach(), xl.words.vocabularies[encoder][dog])
    method.refresh()
    for encoder, vectors in method.state().items():
        typical = xl.words.vocabularies[encoder].square().mean().sqrt() * vectors.shape[1] ** 0.5
        assert (vectors.norm(dim=1) <= 0.5 * typical * (1 + 1e-5)).all()
    xl.encode_prompts(["a zqvx"]).pooled.sum().backward()  # type: ignore[union-attr]
    assert method.state()["text_encoder"].grad is None  # the pooled state is the second encoder's alone
    assert method.state()["text_encoder_2"].grad.any()
    method.detach()


@pytest.mark.parametrize("family", ["sd2", "sdxl"])
def test_full_trains_the_encoders_on_request_but_not_their_vocabulary(tiny_folders: Folders, family: str) -> None:
    model = open_base(tiny_folders(family), CPU, torch.float32)
    before = {f"{n}.{k}": v.clone() for n, net in model.networks.items() for k, v in net.state_dict().items()}
    method = Full(FullConfig(text_encoder=True))
    run(model, Plan(steps=1, learning_rate=1e-3), [method], live_text=True)
    tensors = method.weights().tensors
    assert len(tensors) == len(before)
    moved = {name for name, tensor in tensors.items() if not torch.equal(tensor, before[_named(name, before)])}
    assert {name.partition(".")[0] for name in moved} == {"unet", *(e.name for e in FAMILIES[family].encoders)}
    assert not any("embeddings." in name for name in moved if not name.startswith("unet."))
    if family == "sdxl":
        assert "text_encoder_2.text_projection.weight" in moved


def _named(name: str, names: dict[str, Any]) -> str:
    network, _, path = name.partition(".")
    return name if name in names else f"{network}.text_model.{path}"


# --- what a run is judged by ---


@pytest.mark.parametrize("family", UNETS)
@torch.no_grad()
def test_eyes_see_the_inner_layers_of_the_network_itself(tiny_folders: Folders, family: str) -> None:
    model = open_base(tiny_folders(family), CPU, torch.float32)
    levels: list[torch.Tensor] = []
    unet = model.networks["unet"]
    blocks = [*unet.down_blocks, unet.mid_block]
    hooks = [
        block.register_forward_hook(lambda module, given, out: levels.append(out[0] if isinstance(out, tuple) else out))
        for block in blocks
    ]
    seen = Eyes(model)
    picture = Image.effect_noise((64, 64), 60).convert("RGB")
    clean = encode(model, picture)
    noisy = diffusion.add_noise(
        clean, torch.randn(clean.shape, generator=generator(0)), model.alphas_cumprod[100][None]
    )
    model.predict(noisy, torch.tensor([100]), model.encode_prompts([""]))
    for hook in hooks:
        hook.remove()
    wanted = [torch.cat([x.mean((2, 3)), x.flatten(2).std(2, correction=0)], dim=1) for x in levels]
    torch.testing.assert_close(seen([picture]), torch.cat(wanted, dim=1), rtol=1e-4, atol=1e-5)


def test_probes_are_asked_with_their_crops_sizes(xl: BaseModel, pictures: list[Picture], tmp_path: Path) -> None:
    probes = [online.make_probe(xl, one, 3) for one in cached(xl, pictures, tmp_path / "cache")[::2]]
    together = online.answers(xl, probes)
    for probe, answer in zip(probes, together, strict=True):
        told = probe.conditioning.expand(online.BINS)  # type: ignore[union-attr]
        alone = xl.predict(probe.noisy, probe.timesteps, told.with_sizes(probe.sizes))
        torch.testing.assert_close(answer, alone.detach(), rtol=1e-4, atol=1e-5)
        assert not torch.allclose(answer, xl.predict(probe.noisy, probe.timesteps, told), atol=1e-6)


@pytest.mark.parametrize(
    ("family", "prior"), [("sd2", "none"), ("sdxl", "images"), pytest.param("sdxl", "match", marks=pytest.mark.slow)]
)
def test_a_whole_run(
    tiny_folders: Folders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, family: str, prior: str
) -> None:
    monkeypatch.chdir(tmp_path)
    others = {
        "steps": 3,
        "crops": 1,
        "lora": {"rank": 2, "text_encoder": family == "sd2"},
        "held_out": 1,
        "previews": 1,
        "measure_every": 1,
        "milestones": 1,
    }
    others |= {"prior": prior} | ({"class_count": 2} if prior != "none" else {})
    values = small_run(tmp_path / "photos", [(90, 70)] * 3, tiny_folders(family), tmp_path / "cache", **others)
    settings, tables = read_training(values, "test")
    events = list(runs.train(settings, tables))
    assert isinstance(events[-1], Done)
    (exported,) = [event for event in events if isinstance(event, Exported)]
    assert {"A1111", "Forge", "ComfyUI", "diffusers"} <= set(exported.readers)
    measured = {event.name: event.value for event in events if isinstance(event, Measured)}
    assert {"frozen_loss", "held_out_loss", "binding", "prediction_drift", "near_copies"} <= measured.keys()
    (log,) = (tmp_path / "runs").glob("*/log.jsonl")
    assert all(json.loads(line).get("loss", 0) < 100 for line in log.read_text().splitlines())
    model = open_base(tiny_folders(family), CPU, torch.float32)
    request = Request("a zqvx dog <lora:zqvx:1>", steps=2, seed=1)
    files = PromptFiles(exported.path.parent)
    with_lora, without = (
        next(generate(model, Request(prompt, steps=2, seed=1), files)).image.tobytes()
        for prompt in (request.prompt, "a zqvx dog")
    )
    assert with_lora != without


@pytest.mark.slow
def test_a_model_trained_down_to_pure_noise_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    base = save_tiny("sd2", tmp_path / "v", "v_prediction")
    others = {"steps": 1, "method": "dreambooth", "zero_terminal_snr": True, "prior": "none"}
    others |= {"diffusers_folder": str(tmp_path / "folder")}
    values = small_run(tmp_path / "photos", [(90, 70)] * 2, base, tmp_path / "cache", **others)
    settings, tables = read_training(values, "test")
    out = next(e.path for e in runs.train(settings, tables) if isinstance(e, Exported) and e.path.is_file())
    assert open_base(base, CPU, torch.float32).alphas_cumprod[-1] > 0
    for made in (out, tmp_path / "folder"):
        model = open_base(made, CPU, torch.float32)
        assert model.prediction_type == "v_prediction"
        assert model.alphas_cumprod[-1] == 0
