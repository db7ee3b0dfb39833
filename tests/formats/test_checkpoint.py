"""Checkpoint files: their names, what other programs and Limner itself make of them, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from training import same, snapshot

from limner.base import single
from limner.base.model import BaseModel, weights_of
from limner.base.open import full_precision, open_base
from limner.base.original import place
from limner.base.published import published
from limner.container.header import read_header, serialize
from limner.device import generator
from limner.errors import UserError
from limner.formats import inspect, load_weights, save_weights
from limner.formats.checkpoint import Checkpoint
from limner.generate import Request, generate
from limner.methods.full import Full, FullConfig
from limner.weights import Weights

CPU = torch.device("cpu")


@pytest.fixture
def changed(tiny_base: BaseModel) -> Weights:
    """A whole model whose UNet is not the base's."""
    method = Full(FullConfig())
    method.attach(tiny_base)
    method.detach()
    random = generator(5)
    for master in method.masters.values():
        master.weights.data += 0.02 * torch.randn(master.weights.shape, generator=random)
    return method.weights()


@pytest.fixture
def file(tmp_path: Path, tiny_base: BaseModel, changed: Weights) -> Path:
    saved = save_weights(changed, tmp_path / "zqvx.safetensors", dtype=torch.float32, model=tiny_base)
    assert {r.reader for r in saved.reports} == {"diffusers", "A1111", "Forge", "ComfyUI", "stable-diffusion.cpp"}
    return saved.path


def test_the_original_s_names_and_sizes() -> None:
    """Keys that every Stable Diffusion 1 file has, and as many numbers in each network."""
    configs = published("sd1")
    sizes, keys = {}, {}
    for part in single.networks_of(configs):
        state = weights_of(single.skeleton(part, configs))
        sizes[part] = sum(tensor.numel() for tensor in state.values())
        for name, tensor in state.items():
            its = place(f"{part}.{name}", configs)
            keys[its.key] = tensor.shape
    assert sizes == {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480}
    assert len(keys) == 686 + 248 + 196
    unet, vae = "model.diffusion_model.", "first_stage_model."
    for known in (
        f"{unet}time_embed.2.bias",
        f"{unet}input_blocks.0.0.weight",
        f"{unet}input_blocks.1.1.transformer_blocks.0.attn2.to_out.0.weight",
        f"{unet}input_blocks.3.0.op.weight",
        f"{unet}input_blocks.4.0.skip_connection.weight",
        f"{unet}input_blocks.11.0.out_layers.3.weight",
        f"{unet}middle_block.2.in_layers.0.bias",
        f"{unet}output_blocks.2.1.conv.weight",
        f"{unet}output_blocks.5.2.conv.weight",
        f"{unet}output_blocks.11.1.proj_out.weight",
        f"{unet}out.0.weight",
        f"{vae}encoder.down.1.block.0.nin_shortcut.weight",
        f"{vae}encoder.down.2.downsample.conv.weight",
        f"{vae}encoder.mid.attn_1.norm.weight",
        f"{vae}decoder.up.3.upsample.conv.bias",
        f"{vae}decoder.up.0.block.2.norm1.weight",
        f"{vae}decoder.mid.block_2.conv2.weight",
        f"{vae}decoder.mid.attn_1.proj_out.weight",
        f"{vae}post_quant_conv.weight",
        "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight",
        "cond_stage_model.transformer.text_model.encoder.layers.11.self_attn.out_proj.bias",
    ):
        assert known in keys
    assert keys[f"{unet}input_blocks.1.1.proj_in.weight"] == (320, 320, 1, 1)


def test_diffusers_opens_it_and_draws_the_same_picture(file: Path, tiny_folder: Path) -> None:
    pipeline = StableDiffusionPipeline.from_single_file(str(file), config=str(tiny_folder), local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    model = open_base(file, CPU, torch.float32)
    noise = torch.randn((1, 4, 8, 8), generator=generator(3))
    theirs = pipeline("a fox", num_inference_steps=4, guidance_scale=7.0, latents=noise, output_type="np").images[0]
    (ours,) = generate(model, Request("a fox", steps=4, sampler="DDIM", seed=3))
    assert np.abs(np.asarray(ours.image).astype(float) - theirs * 255).max() <= 1
    (base,) = generate(open_base(tiny_folder, CPU, torch.float32), Request("a fox", steps=4, sampler="DDIM", seed=3))
    assert base.image.tobytes() != ours.image.tobytes()


def test_as_a_base_it_is_the_model_that_it_was(file: Path, tiny_base: BaseModel, changed: Weights) -> None:
    opened = open_base(file, CPU, torch.float32)
    undo = Full.apply(tiny_base, changed)
    assert same(snapshot(opened), snapshot(tiny_base))
    undo()
    assert opened.resolution == 64
    assert opened.fingerprint == inspect(file).sha256
    half = open_base(file, CPU, torch.bfloat16)
    assert torch.equal(full_precision(half, "unet")["conv_in.weight"], changed.tensors["unet.conv_in.weight"])


def test_the_same_weights_are_the_same_bytes_in_half_the_room(tmp_path: Path, changed: Weights) -> None:
    """What is written a tensor at a time is what the library would write."""
    first, second = tmp_path / "a" / "x.safetensors", tmp_path / "b" / "x.safetensors"
    for path in (first, second):
        save_weights(changed, path)
    assert first.read_bytes() == second.read_bytes()
    header = read_header(first)
    assert set(header.dtypes.values()) == {torch.float16}
    assert first.read_bytes() == serialize(load_file(first), header.metadata)
    assert header.metadata["modelspec.hash_sha256"] == f"0x{header.metadata['sshs_model_hash']}"
    assert inspect(first).hash_matches


def test_what_inspect_says(file: Path) -> None:
    summary = inspect(file)
    assert (summary.kind, summary.family, summary.naming) == ("checkpoint", "sd1", "original")
    assert summary.modules.keys() == {"unet", "vae", "text_encoder"}
    assert summary.metadata["modelspec.architecture"] == "stable-diffusion-v1"
    assert summary.webui_hash == summary.sha256[:10]


def test_it_says_nothing_of_where_it_was_made(file: Path, tiny_folder: Path) -> None:
    assert str(tiny_folder.parent) not in file.read_bytes().decode("latin-1")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("text_model.", "", "diffusers|A1111"),
        ("output_blocks.2.1.conv", "output_blocks.2.2.conv", "A1111"),
        ("middle_block.0", "middle_block.7", "diffusers"),
        ("decoder.up.3", "decoder.up.9", "diffusers"),
    ],
)
def test_a_wrong_name_is_found(
    file: Path, tiny_base: BaseModel, changed: Weights, old: str, new: str, said: str
) -> None:
    wrong = file.with_name("wrong.safetensors")
    save_file({key.replace(old, new): tensor for key, tensor in load_file(file).items()}, wrong)
    with pytest.raises(UserError, match=f"{said}"):
        Checkpoint.verify(wrong, tiny_base, changed)


def test_a_wrong_number_is_found(file: Path, tiny_base: BaseModel, changed: Weights) -> None:
    tensors = load_file(file)
    tensors["model.diffusion_model.out.0.weight"][0] += 0.01
    wrong = file.with_name("wrong.safetensors")
    save_file(tensors, wrong)
    with pytest.raises(UserError, match=r"conv_norm_out\.weight"):
        Checkpoint.verify(wrong, tiny_base, changed)


def test_numbers_that_the_format_cannot_hold_are_refused(tmp_path: Path, changed: Weights) -> None:
    changed.tensors["unet.conv_in.weight"][0] = 1e6
    with pytest.raises(UserError, match="float16 cannot"):
        save_weights(changed, tmp_path / "x.safetensors")
    assert list(tmp_path.iterdir()) == []


def test_files_that_are_no_base(file: Path, tmp_path: Path) -> None:
    tensors, metadata = load_file(file), read_header(file).metadata

    def base(name: str, tensors: dict[str, torch.Tensor], metadata: dict[str, str]) -> Path:
        save_file(tensors, tmp_path / name, metadata)
        return tmp_path / name

    without = {key: tensor for key, tensor in tensors.items() if "up.0" not in key}
    configs = json.loads(metadata[single.ARCHITECTURE])
    configs["unet"]["block_out_channels"] = ["many"]
    cases = {
        base("lora.safetensors", {"x.lora_down.weight": torch.zeros(1)}, {}): "no base model that Limner knows",
        base(
            "narrow.safetensors", tensors, {}
        ): r"not Stable Diffusion 1\.x as .* its .* is \(32, 4, 3, 3\).*not \(320",
        base("part.safetensors", without, metadata): "lacks first_stage_model.decoder.up.0",
        base("odd.safetensors", tensors, metadata | {single.ARCHITECTURE: json.dumps(configs)}): "describes itself",
        base("list.safetensors", tensors, metadata | {single.ARCHITECTURE: "[1]"}): "describes itself",
    }
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:50_000])
    (tmp_path / "model.ckpt").write_bytes(b"PK")
    cases |= {tmp_path / "cut.safetensors": "cut.safetensors .*; copy", tmp_path / "model.ckpt": "model.ckpt .*; copy"}
    for path, said in cases.items():
        with pytest.raises(UserError, match=said):
            open_base(path, CPU, torch.float32)


def test_a_checkpoint_is_no_lora_and_a_lora_no_checkpoint(file: Path, tiny_base: BaseModel) -> None:
    from limner.methods.lora import LoRA
    from limner.named import PromptFiles

    with pytest.raises(UserError, match="a whole model, not a LoRA; use it as the base"):
        list(generate(tiny_base, Request("a <lora:zqvx:1>"), PromptFiles(file)))
    with pytest.raises(UserError, match="not a LoRA"):
        LoRA.apply(tiny_base, load_weights(file))
    with pytest.raises(UserError, match="not a checkpoint"):
        Full.apply(tiny_base, Weights("lora", "sd1", {}))


def test_a_file_from_elsewhere_opens_by_the_original_s_shapes(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a word of Limner's in it, with what other programs leave there, and with a newer library's names."""
    configs = json.loads(read_header(file).metadata[single.ARCHITECTURE])
    monkeypatch.setattr(single, "published", lambda *_: configs)
    tensors = {key.replace("text_model.", ""): tensor for key, tensor in load_file(file).items()}
    tensors |= {"alphas_cumprod": torch.ones(1000), "model_ema.decay": torch.tensor(0.9)}
    tensors["cond_stage_model.transformer.embeddings.position_ids"] = torch.arange(77)[None]
    elsewhere = file.with_name("elsewhere.safetensors")
    save_file(tensors, elsewhere)
    assert same(snapshot(open_base(elsewhere, CPU, torch.float32)), snapshot(open_base(file, CPU, torch.float32)))
