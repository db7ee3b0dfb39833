"""What the readers make of written files, against diffusers itself and against files made wrong on purpose."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from limner.base.model import BaseModel
from limner.errors import UserError
from limner.formats import load_weights, save_weights, verify
from limner.formats.factors import change
from limner.weights import Weights

READERS = ["A1111", "Forge", "ComfyUI", "stable-diffusion.cpp", "diffusers"]
MakeLora = Callable[..., Weights]


@pytest.mark.parametrize(("layers", "text"), [("attention", False), ("attention", True), ("all", True)])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_every_program_reads_what_was_trained(
    tmp_path: Path, tiny_base: BaseModel, random_lora: MakeLora, layers: str, text: bool, dtype: torch.dtype
) -> None:
    weights = random_lora(layers, text)
    saved = save_weights(weights, tmp_path / "fox.safetensors", dtype=dtype, model=tiny_base)
    assert [report.reader for report in saved.reports] == READERS
    assert {report.matched for report in saved.reports} == {len(weights.modules())}
    assert all(not report.unmatched for report in saved.reports)
    assert max(report.largest_error for report in saved.reports) < 2 * torch.finfo(dtype).eps + 1e-6


def test_diffusers_itself_applies_the_same_change(
    tmp_path: Path, tiny_folder: Path, tiny_base: BaseModel, random_lora: MakeLora
) -> None:
    from diffusers import StableDiffusionPipeline

    weights = random_lora("all")
    path = tmp_path / "fox.safetensors"
    save_weights(weights, path, dtype=torch.float32, model=tiny_base)
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    pipeline.load_lora_weights(path, adapter_name="fox")
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    for network, trained in (("unet", pipeline.unet), ("text_encoder", pipeline.text_encoder)):
        after = dict(trained.named_parameters())
        for name, before in tiny_base.networks[network].named_parameters():
            module = f"{network}.{name.removeprefix('text_model.').removesuffix('.weight')}"
            want = (
                change(weights.modules()[module], before) if module in weights.modules() else torch.zeros_like(before)
            )
            torch.testing.assert_close(after[name] - before, want, atol=1e-6, rtol=1e-4)


def test_tiny_numbers_survive_or_are_refused(tmp_path: Path, tiny_base: BaseModel, random_lora: MakeLora) -> None:
    """Factors near half precision's smallest numbers lose digits, no more than the format must."""
    weights = random_lora()
    for name in weights.tensors:
        if name.endswith("lora_up"):
            weights.tensors[name] *= 1e-6
    assert save_weights(weights, tmp_path / "fox.safetensors", model=tiny_base).reports
    weights.tensors["unet.mid_block.attentions.0.proj_in.lora_up"][:] = 1e6
    with pytest.raises(UserError, match="float16 cannot"):
        save_weights(weights, tmp_path / "huge.safetensors", model=tiny_base)


def _renamed(path: Path, change: Callable[[str], str]) -> Path:
    wrong = path.with_name("wrong.safetensors")
    save_file({change(key): tensor for key, tensor in load_file(path).items()}, wrong)
    return wrong


@pytest.mark.parametrize(
    ("old", "new", "reader"),
    [
        ("lora_te_text_model_", "lora_te_", "A1111"),  # what PEFT's names become with transformers 5.6 and later
        ("lora_unet_mid_block_attentions_0_proj_in", "lora_unet_mid_block_attentions_1_nowhere", "A1111"),
        (".alpha", ".scale_of_mine", "A1111"),
        ("lora_down.weight", "lora_A.weight", "A1111"),
    ],
)
def test_wrong_names_are_found(
    tmp_path: Path, tiny_base: BaseModel, random_lora: MakeLora, old: str, new: str, reader: str
) -> None:
    weights = random_lora()
    save_weights(weights, tmp_path / "fox.safetensors")
    wrong = _renamed(tmp_path / "fox.safetensors", lambda key: key.replace(old, new))
    with pytest.raises(UserError, match=f"would not work in {reader}"):
        verify(wrong, tiny_base, weights)


def test_wrong_strength_wrong_layer_and_missing_layer_are_found(
    tmp_path: Path, tiny_base: BaseModel, random_lora: MakeLora
) -> None:
    weights = random_lora()
    path = tmp_path / "fox.safetensors"
    save_weights(weights, path)
    tensors = load_file(path)
    doubled = {key: 2 * tensor if key.endswith("alpha") else tensor for key, tensor in tensors.items()}
    swaps = {"attn1_to_q": "attn1_to_k", "attn1_to_k": "attn1_to_q"}
    swapped = {key: key.replace(old, swaps[old]) for key in tensors for old in swaps if old in key}
    crossed = {swapped.get(key, key): tensor for key, tensor in tensors.items()}
    fewer = {key: tensor for key, tensor in tensors.items() if "attn2_to_k" not in key}
    for wrong, words in ((doubled, "as it was trained"), (crossed, "as it was trained"), (fewer, "finds no place for")):
        save_file(wrong, tmp_path / "wrong.safetensors")
        with pytest.raises(UserError, match=words):
            verify(tmp_path / "wrong.safetensors", tiny_base, weights)


def test_a_file_that_one_program_cannot_read_is_not_kept(
    tmp_path: Path, tiny_base: BaseModel, random_lora: MakeLora
) -> None:
    """stable-diffusion.cpp has no way to name the time embedding in a kohya file."""
    weights = random_lora()
    linear = tiny_base.networks["unet"].time_embedding.linear_1
    weights.tensors["unet.time_embedding.linear_1.lora_down"] = torch.ones(4, linear.in_features)
    weights.tensors["unet.time_embedding.linear_1.lora_up"] = torch.ones(linear.out_features, 4)
    weights.tensors["unet.time_embedding.linear_1.alpha"] = torch.tensor(4.0)
    path = tmp_path / "fox.safetensors"
    with pytest.raises(UserError, match=r"stable-diffusion\.cpp.*time_embedding"):
        save_weights(weights, path, model=tiny_base)
    assert list(tmp_path.iterdir()) == []


def test_diffusers_mixes_up_uneven_alphas_and_verification_knows(
    tmp_path: Path, tiny_base: BaseModel, random_lora: MakeLora
) -> None:
    weights = random_lora()
    weights.tensors["unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q.alpha"] = torch.tensor(1.0)
    with pytest.raises(UserError, match="diffusers would not change"):
        save_weights(weights, tmp_path / "fox.safetensors", model=tiny_base)


def test_another_program_overwrites_nothing_on_failure(
    tmp_path: Path, tiny_base: BaseModel, random_lora: MakeLora
) -> None:
    path = tmp_path / "fox.safetensors"
    save_weights(random_lora(), path, model=tiny_base)
    before = path.read_bytes()
    stranger = random_lora()
    stranger.tensors = {key.replace("mid_block", "side_block"): tensor for key, tensor in stranger.tensors.items()}
    with pytest.raises(UserError, match="side_block"):
        save_weights(stranger, path, model=tiny_base)
    assert path.read_bytes() == before
    assert load_weights(path).modules().keys() == random_lora().modules().keys()
