"""What a file holds and is not applied is said by every command; what is damaged or contradicts itself is refused."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from limner.cli import main
from limner.errors import UserError
from limner.formats import inspect, load_weights

Tensors = dict[str, Tensor]
ONE, TWO = (f"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_{part}" for part in "qk")
DOTTED = "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q"
TEXT = "lora_te1_text_model_encoder_layers_0_mlp_fc1"


def pair(layer: str, rank: int = 2, inputs: int = 64, outputs: int = 64) -> Tensors:
    return {f"{layer}.lora_down.weight": torch.ones(rank, inputs), f"{layer}.lora_up.weight": torch.ones(outputs, rank)}


def dotted(layer: str) -> Tensors:
    return {f"{layer}.lora_A.weight": torch.ones(2, 64), f"{layer}.lora_B.weight": torch.ones(64, 2)}


def at(folder: Path, tensors: Tensors, **metadata: str) -> Path:
    path = folder / "zqvx.safetensors"
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, path, metadata or None)
    return path


LEFT_OUT: dict[str, tuple[Tensors, list[str]]] = {  # beside a layer that is used; words of the remark
    "a third text encoder": (
        pair("lora_te3_encoder_block_0"),
        ["2 of 4 tensors", "lora_te3_encoder_block_0", "has no"],
    ),
    "another model's layers": (pair("lora_unet_blocks_0_cross"), ["2 of 4 tensors", "lora_unet_blocks_0_cross"]),
    "a projection that 1.x lacks": (
        pair("lora_te_text_projection"),
        ["lora_te_text_projection", "Stable Diffusion 1.x has no text_projection"],
    ),
    "a layer of rank 0": (pair(TWO, rank=0), [f"{TWO}.lora_down.weight", "rank 0"]),
    "a layer of alpha 0": (pair(TWO) | {f"{TWO}.alpha": torch.tensor(0.0)}, ["3 of 5 tensors", "alpha", "is 0"]),
    "a tensor of no kind": ({"notes": torch.ones(3)}, ["1 of 3 tensors", "notes"]),
    "an unknown leaf": (pair(TWO) | {f"{TWO}.foo": torch.ones(3)}, ["3 of 5 tensors", f"{TWO}.foo", "left out"]),
    "a value to be set": ({f"{TWO}.set_weight": torch.ones(64, 64)}, [f"{TWO}.set_weight"]),
    "vectors at the output": ({"bundle_emb.fox.clip_l_out": torch.ones(2, 32)}, ["clip_l_out", "OneTrainer"]),
    "XL's half of an embedding": ({"bundle_emb.fox.clip_g": torch.ones(2, 32)}, ["bundle_emb.fox.clip_g"]),
    "no vectors": ({"bundle_emb.fox.clip_l": torch.ones(2, 3, 4)}, ["bundle_emb.fox.clip_l", "no vectors"]),
    "an embedding without a name": ({"bundle_emb..clip_l": torch.ones(2, 32)}, ["bundle_emb..clip_l"]),
}
REFUSED: dict[str, tuple[Tensors, list[str]]] = {
    "ups alone": ({f"{ONE}.lora_up.weight": torch.ones(64, 2)}, ["half a LoRA", "lacks lora_down"]),
    "downs alone": ({f"{DOTTED}.lora_A.weight": torch.ones(2, 64)}, ["half a LoRA", "lacks lora_up"]),
    "half of one pair": (pair(ONE) | {f"{TWO}.lora_up.weight": torch.ones(64, 2)}, ["lacks lora_down", "to_k"]),
    "all of rank 0": (pair(ONE, rank=0), ["nothing in", "rank 0"]),
    "no inputs": (pair(ONE, inputs=0), ["do not fit"]),
    "one layer under two names": (pair(ONE) | dotted(DOTTED), ["twice", f"{ONE}.lora_down", f"{DOTTED}.lora_A"]),
    "one text layer under two": (pair(TEXT) | pair(TEXT.replace("te1", "te")), ["twice", "lora_te_text_model"]),
    "whole numbers": ({name: tensor.to(torch.int8) for name, tensor in pair(ONE).items()}, ["int8", "fp16"]),
    "complex numbers": ({name: tensor.to(torch.complex64) for name, tensor in pair(ONE).items()}, ["complex64"]),
    "no numbers": ({name: tensor * torch.nan for name, tensor in pair(ONE).items()}, ["not finite", "to_q"]),
    "an endless alpha": (pair(ONE) | {f"{ONE}.alpha": torch.tensor(torch.inf)}, ["not finite", "alpha"]),
    "alphas in a row": (pair(ONE) | {f"{ONE}.alpha": torch.ones(2)}, ["alpha of shape (2,)"]),
    "a bias of two axes": (pair(ONE) | {f"{ONE}.diff_b": torch.ones(64, 1)}, ["do not fit"]),
    "another model's": (dotted("diffusion_model.blocks.0.self_attn.q"), ["nothing in", "has such layers"]),
    "nothing but what is unknown": (pair(ONE) | {f"{ONE}.foo": torch.ones(3)}, ["nothing in", f"{ONE}.foo"]),
    "an empty rotation": ({f"{ONE}.oft_R.weight": torch.ones(4, 0)}, ["no triangle"]),
}


@pytest.mark.parametrize("case", LEFT_OUT)
def test_what_is_left_out_is_said(tmp_path: Path, case: str) -> None:
    more, words = LEFT_OUT[case]
    path = at(tmp_path, pair(ONE) | more, ss_base_model_version="sd_v1")
    weights = load_weights(path)
    (warning,) = weights.warnings
    assert all(word in warning for word in [str(path), *words]), warning
    assert weights.modules().keys() == {DOTTED}
    assert not weights.words
    assert inspect(path).warnings == weights.warnings


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_used_is_refused_in_a_sentence(tmp_path: Path, case: str) -> None:
    tensors, words = REFUSED[case]
    path = at(tmp_path, tensors)
    with pytest.raises(UserError) as refused:
        load_weights(path)
    assert all(word in str(refused.value) for word in [path.name, *words]), refused.value
    assert "\n" not in str(refused.value)
    found = inspect(path)
    assert found.refusal
    assert found.kind in ("lora", "oft")


@pytest.mark.parametrize(
    "tensors",
    [
        pair(ONE) | pair(TWO, rank=5),
        pair(ONE) | dotted(DOTTED.replace("to_q", "to_k")),
        {name: tensor.to(torch.float8_e4m3fn) for name, tensor in pair(ONE).items()},
        {name: tensor.to(torch.float64) for name, tensor in pair(ONE).items()},
        pair(ONE) | {f"{ONE}.alpha": torch.ones(1, dtype=torch.int64)},
        pair(ONE) | {f"{ONE}.lora_mid.weight": torch.ones(2, 2, 1, 1)},
    ],
    ids=["mixed ranks", "mixed names", "eight bits", "sixty-four bits", "a whole alpha", "a core"],
)
def test_what_is_unusual_and_right_is_read_without_a_word(tmp_path: Path, tensors: Tensors) -> None:
    path = at(tmp_path, tensors)
    weights = load_weights(path)
    assert not weights.warnings
    assert inspect(path).refusal == ""
    scale = 0.5 if any(name.endswith(".alpha") for name in tensors) else 1.0
    leaves = weights.modules()[DOTTED]
    found = leaves["lora_up"].double() @ leaves["lora_down"].double() * float(leaves["alpha"]) / 2
    assert torch.equal(found, torch.full((64, 64), 2.0 * scale, dtype=torch.float64))


def test_an_embedding_of_onetrainer(tmp_path: Path) -> None:
    vectors = {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(2, 1280)}
    path = at(tmp_path, vectors | {"clip_l_out": torch.ones(2, 768)})
    weights = load_weights(path)
    assert (weights.kind, weights.family) == ("embedding", "sdxl")
    assert "1 of 3 tensors" in weights.warnings[0]
    assert inspect(path).warnings == weights.warnings
    with pytest.raises(UserError, match="no embedding that can be used"):
        load_weights(at(tmp_path, {"emp_params_out": torch.ones(2, 768)}))
    with pytest.raises(UserError, match="whole or complex"):
        load_weights(at(tmp_path, {"emb_params": torch.ones(2, 768, dtype=torch.int8)}))


def test_every_command_hands_it_on(tmp_path: Path, tiny_folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = at(tmp_path, pair(ONE, rank=4) | pair("lora_te3_encoder_block_0"), ss_base_model_version="sd_v1")
    out, base = tmp_path / "out.safetensors", str(tiny_folder)
    commands: dict[str, list[str]] = {
        "inspect": ["inspect", str(path)],
        "convert": ["convert", str(path), str(out), "--overwrite"],
        "resize": ["resize", str(path), str(out), "--rank", "1", "--overwrite"],
        "merge": ["merge", base, str(tmp_path / "merged"), "--lora", str(path)],
        "combine": ["merge", str(path), str(out), "--lora", str(path), "--into", "lora", "--overwrite"],
        "generate": ["generate", "a cat <lora:zqvx:1>", "--base", base, "--lora", str(path), "--steps", "1"],
    }
    for command, arguments in commands.items():
        more = ["--out", str(tmp_path / "pictures")] if command == "generate" else []
        assert main([*arguments, *more, "--json"]) == 0, command
        told = json.loads(capsys.readouterr().out.splitlines()[-1])
        (warning,) = [each for each in told["warnings"] if "zqvx.safetensors" in each]
        assert "lora_te3_encoder_block_0" in warning, command
    for command, arguments in commands.items():
        if command != "inspect":  # which says of any file what it is
            at(tmp_path, {f"{ONE}.lora_up.weight": torch.ones(64, 2)})
            assert main([*arguments, "--overwrite"] if command == "merge" else arguments) == 2, command
            assert "half a LoRA" in capsys.readouterr().err, command


def test_biases_survive_edits(tmp_path: Path) -> None:
    path, out = at(tmp_path, pair(ONE, rank=4) | {f"{ONE}.diff_b": torch.arange(64.0)}), tmp_path / "out.safetensors"
    summed = ["merge", f"{path}:0.5", str(out), "--lora", str(path), "--into", "lora"]
    for command, factor in (
        (["convert", str(path), str(out)], 1.0),
        (["resize", str(path), str(out), "--rank", "1"], 1.0),
        (summed, 1.5),
    ):
        assert main([*command, "--overwrite"]) == 0
        assert torch.allclose(load_weights(out).tensors[f"{DOTTED}.diff_b"], factor * torch.arange(64.0))
