"""A model's layers under the names that the readers' own models give them: diffusers', and the original release's."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from limner.base.model import BaseModel

_RESNET_PARTS = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}


@dataclass(frozen=True)
class Layer:
    """One Linear or Conv2d. name: as in limner.weights. diffusers, original: its path inside its network in either."""

    name: str
    network: str  # "unet" or "text_encoder"
    diffusers: str
    original: str
    shape: tuple[int, ...]  # of its weight


def layers(model: BaseModel) -> list[Layer]:
    """Every layer of the UNet and the text encoder that a LoRA can be for."""
    found = []
    blocks = _original_blocks(model.networks["unet"])
    for network in ("unet", "text_encoder"):
        for path, module in model.networks[network].named_modules():
            if not isinstance(module, nn.Linear | nn.Conv2d):
                continue
            plain = path.removeprefix("text_model.")
            if network == "unet":
                diffusers, original = path, _original_path(path, blocks)
            else:
                diffusers = original = f"text_model.{plain}"
            found.append(Layer(f"{network}.{plain}", network, diffusers, original, tuple(module.weight.shape)))
    return found


def _original_blocks(unet: Any) -> dict[str, str]:
    """{diffusers' path of a block: the original's}, counting blocks in the order in which the original builds them."""
    blocks = {
        "conv_in": "input_blocks.0.0",
        "conv_out": "out.2",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "mid_block.resnets.0": "middle_block.0",
        "mid_block.attentions.0": "middle_block.1",
        "mid_block.resnets.1": "middle_block.2",
    }
    place = 1  # input_blocks.0 is conv_in
    for at, block in enumerate(unet.down_blocks):
        for layer in range(len(block.resnets)):
            blocks[f"down_blocks.{at}.resnets.{layer}"] = f"input_blocks.{place}.0"
            blocks[f"down_blocks.{at}.attentions.{layer}"] = f"input_blocks.{place}.1"
            place += 1
        if block.downsamplers:
            blocks[f"down_blocks.{at}.downsamplers.0.conv"] = f"input_blocks.{place}.0.op"
            place += 1
    place = 0
    for at, block in enumerate(unet.up_blocks):
        for layer in range(len(block.resnets)):
            blocks[f"up_blocks.{at}.resnets.{layer}"] = f"output_blocks.{place}.0"
            blocks[f"up_blocks.{at}.attentions.{layer}"] = f"output_blocks.{place}.1"
            place += 1
        if block.upsamplers:  # the last member of the block's last place, behind the attention if there is one
            member = 2 if getattr(block, "attentions", None) else 1
            blocks[f"up_blocks.{at}.upsamplers.0.conv"] = f"output_blocks.{place - 1}.{member}.conv"
    return blocks


def _original_path(path: str, blocks: dict[str, str]) -> str:
    for block, original in blocks.items():
        if path == block:
            return original
        if path.startswith(f"{block}."):
            inner = path.removeprefix(f"{block}.")
            return f"{original}.{_RESNET_PARTS.get(inner, inner) if '.resnets.' in path else inner}"
    return path  # a layer that the original release lacks keeps its name, so that no reader finds it
