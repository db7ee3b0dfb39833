"""A base's layers under the names that the readers' own models give them: diffusers', and the original release's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from torch import nn

from limner.base.family import Family
from limner.base.model import BaseModel

OPEN_CLIP = {("sd2", "text_encoder"), ("sdxl", "text_encoder_2")}  # text encoders that were OpenCLIP's at first
_RESNET_PARTS = {
    "conv1": "in_layers.2",
    "conv2": "out_layers.3",
    "time_emb_proj": "emb_layers.1",
    "conv_shortcut": "skip_connection",
}
_OPEN_CLIP_PARTS = {"self_attn": "attn", "fc1": "c_fc", "fc2": "c_proj"}


@dataclass(frozen=True)
class Layer:
    """One Linear or Conv2d. name: as in limner.weights. diffusers, original: its path inside its network in either.

    OpenCLIP keeps q, k and v in one tensor `attn.in_proj_weight`; here its thirds are called `attn.q_proj` and so on.
    """

    name: str
    network: str  # "unet", "text_encoder" or "text_encoder_2"
    diffusers: str
    original: str
    shape: tuple[int, ...]  # of its weight


@dataclass(frozen=True)
class Layout:
    """What a base is made of: a family's name, every layer that an adapter can be for, and diffusers' configuration of
    its UNet."""

    family: str
    layers: list[Layer]
    unet_config: Any


def layout(model: BaseModel) -> Layout:
    """The layout of an opened base."""
    return layout_of(model.family, model.networks)


def layers(model: BaseModel) -> list[Layer]:
    """Every layer of an opened base that an adapter can be for."""
    return layout(model).layers


def layout_of(family: Family, networks: Mapping[str, nn.Module]) -> Layout:
    """The layout of a family's networks, which may be on torch's meta device, without weights."""
    denoiser = networks[family.denoiser]
    found = list(_unet_layers(denoiser) if family.denoiser == "unet" else _transformer_layers(denoiser))
    for encoder in family.encoders:
        is_open = (family.name, encoder.name) in OPEN_CLIP
        found += _text_layers(encoder.name, networks[encoder.name], is_open)
    return Layout(family.name, found, getattr(denoiser, "config", None))


def _transformer_layers(transformer: nn.Module) -> Iterator[Layer]:
    for path, module in _adaptable(transformer):
        yield Layer(f"transformer.{path}", "transformer", path, path, tuple(module.weight.shape))


def _unet_layers(unet: nn.Module) -> Iterator[Layer]:
    blocks = _original_blocks(unet)
    for path, module in _adaptable(unet):
        yield Layer(f"unet.{path}", "unet", path, _original_path(path, blocks), tuple(module.weight.shape))


def _text_layers(network: str, encoder: nn.Module, is_open: bool) -> Iterator[Layer]:
    for path, module in _adaptable(encoder):
        plain = path.removeprefix("text_model.")
        if not plain.startswith("encoder."):  # the projection of the pooled state, which lies outside
            continue
        original = f"text_model.{plain}"
        if is_open:
            parts = plain.removeprefix("encoder.layers.").split(".")
            original = ".".join(["transformer.resblocks", *(_OPEN_CLIP_PARTS.get(part, part) for part in parts)])
        yield Layer(f"{network}.{plain}", network, f"text_model.{plain}", original, tuple(module.weight.shape))


def _adaptable(network: nn.Module) -> Iterator[tuple[str, Any]]:
    found = network.named_modules()
    return ((path, module) for path, module in found if isinstance(module, nn.Linear | nn.Conv2d))


def _original_blocks(unet: Any) -> dict[str, str]:
    """{diffusers' path of a block: the original's}, counting blocks in the order in which the original builds them."""
    blocks = {
        "conv_in": "input_blocks.0.0",
        "conv_out": "out.2",
        "time_embedding.linear_1": "time_embed.0",
        "time_embedding.linear_2": "time_embed.2",
        "add_embedding.linear_1": "label_emb.0.0",
        "add_embedding.linear_2": "label_emb.0.2",
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
