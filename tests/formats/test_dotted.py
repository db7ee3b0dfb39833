"""Files that diffusers and PEFT save are read with the strength that they have there."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from limner.base.model import BaseModel
from limner.errors import UserError
from limner.formats import load_weights
from limner.formats.factors import change


@pytest.mark.parametrize("rslora", [False, True])
def test_what_diffusers_saves(tmp_path: Path, tiny_folder: Path, tiny_base: BaseModel, rslora: bool) -> None:
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig, get_peft_model_state_dict

    pipeline = StableDiffusionPipeline.from_pretrained(tiny_folder, safety_checker=None)
    settings = LoraConfig(
        r=4, lora_alpha=2, use_rslora=rslora, init_lora_weights=False, alpha_pattern={"attn2.to_k": 6},
        target_modules=["to_q", "to_k", "to_out.0", "proj_in"],
    )  # fmt: skip
    text_settings = LoraConfig(r=2, lora_alpha=5, init_lora_weights=False, target_modules=["q_proj", "out_proj", "fc1"])
    pipeline.unet.add_adapter(settings)
    pipeline.text_encoder.add_adapter(text_settings)
    StableDiffusionPipeline.save_lora_weights(
        tmp_path,
        unet_lora_layers=get_peft_model_state_dict(pipeline.unet),
        text_encoder_lora_layers=convert_state_dict_to_diffusers(get_peft_model_state_dict(pipeline.text_encoder)),
        unet_lora_adapter_metadata=pipeline.unet.peft_config["default"].to_dict(),
        text_encoder_lora_adapter_metadata=pipeline.text_encoder.peft_config["default"].to_dict(),
    )
    weights = load_weights(tmp_path / "pytorch_lora_weights.safetensors")
    for network, trained in (("unet", pipeline.unet), ("text_encoder", pipeline.text_encoder)):
        adapted = {
            f"{network}.{name.removeprefix('text_model.')}": module
            for name, module in trained.named_modules()
            if hasattr(module, "get_delta_weight")
        }
        assert adapted.keys() == {name for name in weights.modules() if name.startswith(network)}
        for name, module in adapted.items():
            torch.testing.assert_close(
                change(weights.modules()[name], module.weight), module.get_delta_weight("default")
            )


@pytest.mark.parametrize(
    ("down", "up", "module"),
    [
        ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.down.weight",) * 2
        + ("unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",),
        ("text_encoder.text_model.encoder.layers.0.self_attn.to_q_lora.down.weight",) * 2
        + ("text_encoder.encoder.layers.0.self_attn.q_proj",),
        ("text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_linear_layer.down.weight",) * 2
        + ("text_encoder.encoder.layers.0.mlp.fc1",),
        ("unet.mid_block.attentions.0.proj_in.lora.down.weight",) * 2 + ("unet.mid_block.attentions.0.proj_in",),
    ],
)
def test_older_spellings(tmp_path: Path, down: str, up: str, module: str) -> None:
    tensors = {down: torch.ones(2, 32), up.replace(".down.", ".up."): torch.ones(32, 2)}
    save_file(tensors, tmp_path / "old.safetensors")
    weights = load_weights(tmp_path / "old.safetensors")
    assert weights.modules().keys() == {module}
    assert weights.tensors[f"{module}.alpha"] == 2.0


@pytest.mark.parametrize("settings", ["{", '{"unet.lora_alpha": "strong"}', '{"unet.lora_alpha": null}'])
def test_settings_that_hide_the_strength(tmp_path: Path, settings: str) -> None:
    key = "unet.mid_block.attentions.0.proj_in.lora_{}.weight"
    tensors = {key.format("A"): torch.ones(2, 32), key.format("B"): torch.ones(32, 2)}
    save_file(tensors, tmp_path / "odd.safetensors", {"lora_adapter_metadata": settings})
    with pytest.raises(UserError, match=r"odd\.safetensors"):
        load_weights(tmp_path / "odd.safetensors")
