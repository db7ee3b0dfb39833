"""Names, widths and levels tell the family of a file; the metadata only where these leave it open."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from limner.base.families import FAMILIES
from limner.formats import inspect, load_weights, save_weights
from limner.formats.metadata import complete

Tensors = dict[str, Tensor]
SELF = "transformer_blocks_0_attn1_to_q"
CROSS, DOTTED = "transformer_blocks_0_attn2_to_k", "transformer_blocks.0.attn2.to_k"
DEEP = "lora_unet_mid_block_attentions_0_transformer_blocks_9_attn1_to_q"


def pair(layer: str, inputs: int = 8, outputs: int = 8) -> Tensors:
    return {f"{layer}.lora_down.weight": torch.ones(1, inputs), f"{layer}.lora_up.weight": torch.ones(outputs, 1)}


def whole(layer: str, inputs: int, outputs: int) -> Tensors:
    return {f"{layer}.diff": torch.ones(outputs, inputs)}


def loha(layer: str, inputs: int, outputs: int) -> Tensors:
    halves = {f"{layer}.hada_w{n}_b": torch.ones(1, inputs) for n in (1, 2)}
    return halves | {f"{layer}.hada_w{n}_a": torch.ones(outputs, 1) for n in (1, 2)}


def lokr(layer: str, inputs: int, outputs: int) -> Tensors:
    return {f"{layer}.lokr_w1": torch.ones(4, 4), f"{layer}.lokr_w2": torch.ones(outputs // 4, inputs // 4)}


PROVEN: dict[str, tuple[str, Tensors]] = {
    "the text's states": ("sd1", pair(f"lora_unet_mid_block_attentions_0_{CROSS}", 768, 1280)),
    "of 2.x": ("sd2", pair(f"lora_unet_mid_block_attentions_0_{CROSS}", 1024, 1280)),
    "of XL": ("sdxl", pair(f"lora_unet_middle_block_1_{CROSS}", 2048, 1280)),
    "in a LoHa": ("sd1", loha(f"lora_unet_middle_block_1_{CROSS}", 768, 1280)),
    "in a LoKr": ("sdxl", lokr(f"unet.mid_block.attentions.0.{DOTTED}", 2048, 1280)),
    "in a difference": ("sd2", whole(f"lora_unet_mid_block_attentions_0_{CROSS}", 1024, 1280)),
    "attention at the first level": ("sd1", pair(f"lora_unet_input_blocks_1_1_{SELF}")),
    "attention at the last": ("sd1", pair(f"lora_unet_output_blocks_11_1_{SELF}")),
    "attention where only XL has it": ("sdxl", pair(f"lora_unet_output_blocks_0_1_{SELF}")),
    "under diffusers' names": ("sdxl", pair(f"lora_unet_up_blocks_0_attentions_0_{SELF}")),
    "several transformers": (
        "sdxl",
        pair(DEEP, 1280, 1280),
    ),
    "a second text encoder": ("sdxl", pair("lora_te2_text_model_encoder_layers_0_mlp_fc1")),
    "its projection": ("sdxl", pair("lora_te2_text_projection")),
    "told sizes": ("sdxl", pair("lora_unet_label_emb_0_0")),
    "the width of a text encoder": ("sd2", pair("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 1024, 1024)),
}
CLAIMS = {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}


def at(folder: Path, tensors: Tensors, **metadata: str) -> Path:
    path = folder / "zqvx.safetensors"
    save_file(tensors, path, metadata or None)
    return path


@pytest.mark.parametrize("case", PROVEN)
def test_what_is_in_a_file_beats_what_it_says(tmp_path: Path, case: str) -> None:
    family, tensors = PROVEN[case]
    assert load_weights(at(tmp_path, tensors)).family == family  # without metadata
    for claimed, version in CLAIMS.items():
        path = at(tmp_path, tensors, ss_base_model_version=version, ss_v2=str(claimed == "sd2"))
        weights = load_weights(path)
        level_only = case.startswith("attention at") and {claimed, family} == {"sd1", "sd2"}
        assert weights.family == (claimed if level_only else family)
        assert inspect(path).family == weights.family
        assert inspect(path).warnings == weights.warnings
        if claimed in (family, weights.family):
            assert not weights.warnings
            continue
        (warning,) = weights.warnings
        assert claimed in warning
        assert family in warning
        assert version in warning
        assert "ss_base_model_version" not in weights.metadata  # what is made of the file shall not repeat it
        assert complete(weights, FAMILIES[family], "x")["ss_base_model_version"] == CLAIMS[family]


@pytest.mark.parametrize(
    ("tensors", "claim", "family"),
    [
        (pair(f"lora_unet_mid_block_attentions_0_{SELF}"), "sd_v2", "sd2"),
        (pair(f"lora_unet_mid_block_attentions_0_{SELF}"), "", "sd1"),
        (pair(f"lora_unet_middle_block_1_{SELF}"), "", "sdxl"),  # as kohya names only XL's
        (pair(f"lora_unet_middle_block_1_{SELF}"), "sd_v1", "sd1"),
        (pair(DEEP), "", "sdxl"),
        (pair(DEEP), "sd_v1", "sd1"),  # a narrow base
        (pair("lora_te1_text_model_encoder_layers_0_mlp_fc1"), "sdxl_base_v1-0", "sdxl"),
        (
            {
                "lora_unet_mid_block_attentions_0_proj_in.lora_down.weight": torch.ones(1, 8, 1, 1),
                "lora_unet_mid_block_attentions_0_proj_in.lora_up.weight": torch.ones(8, 1, 1, 1),
            },
            "",
            "sd1",
        ),
    ],
)
def test_what_is_open_the_metadata_decide(tmp_path: Path, tensors: Tensors, claim: str, family: str) -> None:
    metadata = {"ss_base_model_version": claim} if claim else {}
    weights = load_weights(at(tmp_path, tensors, **metadata))
    assert weights.family == family
    assert not weights.warnings


def test_a_unet_is_none_of_flux(tmp_path: Path) -> None:
    tensors = pair(f"lora_unet_down_blocks_1_attentions_0_{SELF}")
    weights = load_weights(at(tmp_path, tensors, ss_base_model_version="flux1"))
    assert weights.family == "sd1"
    assert "flux" in weights.warnings[0]


def test_embeddings_too(tmp_path: Path) -> None:
    path = at(tmp_path, {"emb_params": torch.ones(2, 768)}, ss_base_model_version="sd_v2")
    weights = load_weights(path)
    assert weights.family == "sd1"
    assert "768 wide" in weights.warnings[0]
    assert "sd_v2" in weights.warnings[0]
    assert inspect(path).warnings == weights.warnings
    again = save_weights(weights, tmp_path / "again.safetensors").path
    assert not load_weights(again).warnings
    narrow = load_weights(at(tmp_path, {"emb_params": torch.ones(2, 32)}, ss_base_model_version="sd_v2"))
    assert (narrow.family, narrow.warnings) == ("sd2", ())
