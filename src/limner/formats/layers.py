"""A base's layers under the names that the readers' own models give them: diffusers', and the original release's."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
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
    "norm1": "in_layers.0",
    "norm2": "out_layers.0",
}
_OPEN_CLIP_PARTS = {
    "self_attn": "attn",
    "fc1": "c_fc",
    "fc2": "c_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
}
_LAST_NORM = "final_layer_norm"
_OPEN_CLIP_LAST = "ln_final"


@dataclass(frozen=True)
class Layer:
    """One Linear or Conv2d, or a normalisation.

    name: as in limner.weights. diffusers, original: its path inside its network in either.

    OpenCLIP keeps q, k and v in one tensor `attn.in_proj_weight`; here its thirds are called `attn.q_proj` and so on.
    """

    name: str
    network: str  # "unet", "text_encoder" or "text_encoder_2"
    diffusers: str
    original: str
    shape: tuple[int, ...]  # of its weight


@dataclass(frozen=True)
class Layout:
    """What a base is made of: a family's name, every layer that an adapter can be for, diffusers' configuration of its
    UNet, and its normalisations, of which some files hold differences."""

    family: str
    layers: list[Layer]
    unet_config: Any
    norms: list[Layer] = field(default_factory=list)


def layout(model: BaseModel) -> Layout:
    """The layout of an opened base."""
    return layout_of(model.family, model.networks)


def layers(model: BaseModel) -> list[Layer]:
    """Every layer of an opened base that an adapter can be for."""
    return layout(model).layers


def layout_of(family: Family, networks: Mapping[str, nn.Module]) -> Layout:
    """The layout of a family's networks, which may be on torch's meta device, without weights."""
    denoiser = networks[family.denoiser]
    is_unet = family.denoiser == "unet"
    found = list(_unet_layers(denoiser, _ADAPTABLE) if is_unet else _transformer_layers(denoiser))
    norms = list(_unet_layers(denoiser, _NORMS) if is_unet else ())
    for encoder in family.encoders:
        is_open = (family.name, encoder.name) in OPEN_CLIP
        found += _text_layers(encoder.name, networks[encoder.name], is_open, _ADAPTABLE)
        norms += _text_layers(encoder.name, networks[encoder.name], is_open, _NORMS)
    return Layout(family.name, found, getattr(denoiser, "config", None), norms)


_ADAPTABLE = (nn.Linear, nn.Conv2d)
_NORMS = (nn.GroupNorm, nn.LayerNorm)
Kinds = tuple[type[nn.Module], ...]


def _transformer_layers(transformer: nn.Module) -> Iterator[Layer]:
    for path, module in _modules(transformer, _ADAPTABLE):
        yield Layer(f"transformer.{path}", "transformer", path, path, tuple(module.weight.shape))


def _unet_layers(unet: nn.Module, kinds: Kinds) -> Iterator[Layer]:
    blocks = _original_blocks(unet)
    for path, module in _modules(unet, kinds):
        yield Layer(f"unet.{path}", "unet", path, _original_path(path, blocks), tuple(module.weight.shape))


def _text_layers(network: str, encoder: nn.Module, is_open: bool, kinds: Kinds) -> Iterator[Layer]:
    for path, module in _modules(encoder, kinds):
        plain = path.removeprefix("text_model.")
        if not plain.startswith("encoder.") and plain != _LAST_NORM:  # the projection of the pooled state lies outside
            continue
        original = f"text_model.{plain}"
        if is_open and plain == _LAST_NORM:
            original = _OPEN_CLIP_LAST
        elif is_open:
            parts = plain.removeprefix("encoder.layers.").split(".")
            original = ".".join(["transformer.resblocks", *(_OPEN_CLIP_PARTS.get(part, part) for part in parts)])
        yield Layer(f"{network}.{plain}", network, f"text_model.{plain}", original, tuple(module.weight.shape))


def _modules(network: nn.Module, kinds: Kinds) -> Iterator[tuple[str, Any]]:
    return ((path, module) for path, module in network.named_modules() if isinstance(module, kinds))


def _original_blocks(unet: Any) -> dict[str, str]:
    """{diffusers' path of a block: the original's}, counting blocks in the order in which the original builds them."""
    blocks = {
        "conv_in": "input_blocks.0.0",
        "conv_norm_out": "out.0",
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
