"""Names that stand for no base, and what is said before one is opened."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from limner.base.announce import about_base
from limner.base.find import find_base
from limner.base.open import Opening, opening
from limner.cli import main
from limner.errors import UserError
from limner.events import Prepared


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to be in, with a models folder in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LIMNER_MODELS", raising=False)
    monkeypatch.setenv("LIMNER_CACHE", str(tmp_path / "cache"))
    for name in ("models/Stable-diffusion/DreamShaper_8.safetensors", "models/Stable-diffusion/xl/sd_xl_base.ckpt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"weights")
    (tmp_path / "mine.safetensors").write_bytes(b"weights")
    return tmp_path


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("qqq.safetensors", "no such file or folder; find one with limner search and fetch it with limner download"),
        ("nowhere", "no such file or folder; find one with limner search"),
        ("MINNE.SAFETENSORS", "did you mean mine.safetensors? Or find one with limner search and fetch"),
        ("min.ckpt", "did you mean mine.safetensors?"),
        ("dreamshaper.safetensors", "did you mean models/Stable-diffusion/DreamShaper_8.safetensors?"),
        ("sd_xl_bas", "did you mean models/Stable-diffusion/xl/sd_xl_base.ckpt?"),
        ("some-owner/some-thing", "nor in the hub's cache on this machine"),
        ("some-owner/some-thing", "limner download hub:some-owner/some-thing"),
        ("models", "without model_index.json"),
        ("models/Stable-diffusion/xl", "give models/Stable-diffusion/xl/sd_xl_base.ckpt"),
        ("a\nb.safetensors", r"'a\\nb.safetensors'"),
    ],
)
def test_a_name_that_is_no_base_is_answered_with_what_is_near(place: Path, name: str, said: str) -> None:
    with pytest.raises(UserError) as raised:
        find_base(name)
    assert said in str(raised.value).replace("\\", "/").replace("//", "\\\\")


@pytest.mark.parametrize(
    ("tensors", "said"),
    [
        ({"lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": (4, 8)}, "it is a LoRA; give the model"),
        ({"unet.mid_block.attn.lora_A.weight": (4, 8)}, "it is a LoRA"),
        ({"lora_unet_x.hada_w1_a": (4, 4)}, "it is a LoRA"),
        ({"emb_params": (4, 768)}, "it is an embedding"),
        ({"clip_l": (4, 768), "clip_g": (4, 1280)}, "it is an embedding"),
        ({"<zqvx>": (768,)}, "it is an embedding"),
        ({"first_stage_model.encoder.conv_in.weight": (4, 4)}, "a VAE alone"),
        ({"x": (4, 4)}, "none of the names of a Stable Diffusion checkpoint"),
    ],
)
def test_a_file_that_is_something_else_is_called_what_it_is(
    tmp_path: Path, tensors: dict[str, tuple[int, ...]], said: str
) -> None:
    path = tmp_path / "thing.SAFETENSORS"
    save_file({name: torch.zeros(shape) for name, shape in tensors.items()}, path)
    with pytest.raises(UserError, match=said):
        find_base(path)


def test_a_text_file_is_no_base(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("a cat\n" * 10)
    with pytest.raises(UserError, match=r"notes\.txt is neither a safetensors file nor"):
        find_base(tmp_path / "notes.txt")
    assert about_base(tmp_path / "notes.txt") == "notes.txt (0 MB)"


def test_what_is_opened_is_told_with_kind_and_size(tmp_path: Path, tiny_folders: Callable[[str], Path]) -> None:
    assert about_base(tiny_folders("sdxl")).startswith(f"{tiny_folders('sdxl').name} (Stable Diffusion XL, ")
    assert about_base("pocket").startswith("pocket (Stable Diffusion 1.x, ")
    keys = {"model.diffusion_model.input_blocks.0.0.weight": (320, 4, 3, 3), "label_emb": (1,)}
    keys["model.diffusion_model.label_emb.0.0.weight"] = (4, 2816)
    keys["model.diffusion_model.middle_block.1.x"] = (1,)
    keys["model.diffusion_model.x.attn2.to_k.weight"] = (4, 2048)
    save_file({name: torch.zeros(shape) for name, shape in keys.items()}, tmp_path / "dreamshaper.safetensors")
    assert about_base(tmp_path / "dreamshaper.safetensors") == "dreamshaper.safetensors (Stable Diffusion XL, 0 MB)"
    assert about_base("some-owner/some-thing") == "some-thing"
    for data in (b"", b"\xff" * 20, (9).to_bytes(8, "little") + b"[1, 2, 3]", (2).to_bytes(8, "little") + b"{}"):
        (tmp_path / "odd.ckpt").write_bytes(data)
        assert about_base(tmp_path / "odd.ckpt").startswith("odd.ckpt (")


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_opening_tells_how_far_it_is(
    kind: str, tmp_path: Path, tiny_folder: Path, tiny_base: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny_folder
    if kind == "file":
        from limner.formats import save_weights
        from limner.weights import whole

        source = tmp_path / "tiny.safetensors"
        save_weights(whole(tiny_base), source)  # type: ignore[arg-type]
    steps = list(opening(source, torch.device("cpu"), torch.float32))
    assert all(isinstance(step, Opening) for step in steps)
    done = [step.done for step in steps]
    assert done[0] == 0
    assert done == sorted(done)
    assert steps[-1].total > 0
    assert done[-1] > 0.9 * steps[-1].total
    assert len(steps) > (3 if kind == "folder" else 100)


def test_commands_say_what_they_open_before_they_do(
    tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    base = shutil.copytree(tiny_folder, tmp_path / "my-model")
    (tmp_path / "photos").mkdir()
    for command in (
        ["train", "photos", "--keyword", "zqvx", "--base", str(base)],
        ["generate", "a cat <lora:gone:1>", "--base", str(base)],
        ["merge", str(base), "out.safetensors", "--lora", "gone.safetensors"],
        ["inspect", str(base)],
    ):
        main(command)
        said = capsys.readouterr().err
        assert said.startswith(("opening my-model (Stable Diffusion 1.x", "reading my-model (")), (command, said)
        main([*command, "--quiet", "--json"])
        answer = capsys.readouterr()
        assert "my-model (Stable" not in answer.err
        json.loads(answer.out.splitlines()[-1])


def test_a_training_yields_how_far_its_base_is_opened(tiny_folder: Path) -> None:
    from limner.config import TrainSettings
    from limner.run.job import opened

    settings = TrainSettings(base=str(tiny_folder), keyword="zqvx")
    events = list(opened(settings, torch.device("cpu"), torch.float32))
    assert all(isinstance(event, Prepared) and event.what == "opening the base, MB" for event in events)
    assert events
