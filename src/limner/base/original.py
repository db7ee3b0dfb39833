"""The names that Stable Diffusion 1's weights have in the original release's single files, from diffusers' names."""

import re
from collections.abc import Mapping
from typing import Any

Configs = Mapping[str, Mapping[str, Any]]  # of a model's networks, by diffusers' component names

PREFIXES = {
    "unet": "model.diffusion_model.",
    "vae": "first_stage_model.",
    # `text_model` whatever transformers' version: some readers do not find the text encoder without it
    "text_encoder": "cond_stage_model.transformer.text_model.",
}
_UNET_EDGES = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_UNET_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}
_VAE_ATTENTION = {"group_norm": "norm", "to_q": "q", "to_k": "k", "to_v": "v", "to_out.0": "proj_out"}


def original_name(name: str, configs: Configs) -> str:
    """The key of "<network>.<path>" (limner.weights' name), as in "unet.conv_in.weight". ValueError for other names."""
    network, _, path = name.partition(".")
    if network == "text_encoder":
        return PREFIXES[network] + path
    module, _, leaf = path.rpartition(".")
    rename = {"unet": _unet_module, "vae": _vae_module}[network]
    return f"{PREFIXES[network]}{rename(module, configs[network])}.{leaf}"


def is_pointwise(name: str) -> bool:
    """Whether a weight that diffusers holds as a matrix is a 1x1 convolution in the original: the VAE's attention."""
    return name.startswith("vae.") and ".attentions." in name and name.endswith(".weight") and "group_norm" not in name


def _unet_module(path: str, config: Mapping[str, Any]) -> str:
    """The original numbers the members of all levels through, with each level's sampler behind its layers."""
    if path in _UNET_EDGES:
        return _UNET_EDGES[path]
    layers = int(config["layers_per_block"])
    if match := re.fullmatch(r"(down|up)_blocks\.(\d+)\.(resnets|attentions)\.(\d+)\.(.+)", path):
        side, block, kind, layer, rest = match.groups()
        place = (layers + 1) * int(block) + int(layer) + (side == "down")
        half = "input" if side == "down" else "output"
        return f"{half}_blocks.{place}.{_member(kind, rest)}"
    if match := re.fullmatch(r"down_blocks\.(\d+)\.downsamplers\.0\.conv", path):
        return f"input_blocks.{(layers + 1) * (int(match[1]) + 1)}.0.op"
    if match := re.fullmatch(r"up_blocks\.(\d+)\.upsamplers\.0\.conv", path):
        has_attention = "CrossAttn" in config["up_block_types"][int(match[1])]
        return f"output_blocks.{(layers + 1) * int(match[1]) + layers}.{1 + has_attention}.conv"
    if match := re.fullmatch(r"mid_block\.(resnets|attentions)\.(\d)\.(.+)", path):
        kind, layer, rest = match.groups()
        member = _member(kind, rest).partition(".")[2]
        return f"middle_block.{1 if kind == 'attentions' else 2 * int(layer)}.{member}"
    raise ValueError(f"the original has no place for the UNet's {path}")


def _member(kind: str, rest: str) -> str:
    return f"1.{rest}" if kind == "attentions" else f"0.{_UNET_RESNET[rest]}"


def _vae_module(path: str, config: Mapping[str, Any]) -> str:
    """The original counts the decoder's levels from the outside, as the encoder's."""
    levels = len(config["block_out_channels"])
    path = path.replace("conv_shortcut", "nin_shortcut").replace("conv_norm_out", "norm_out")
    if match := re.fullmatch(r"encoder\.down_blocks\.(\d+)\.(.+)", path):
        return f"encoder.down.{match[1]}.{_vae_member(match[2])}"
    if match := re.fullmatch(r"decoder\.up_blocks\.(\d+)\.(.+)", path):
        return f"decoder.up.{levels - 1 - int(match[1])}.{_vae_member(match[2])}"
    if match := re.fullmatch(r"(encoder|decoder)\.mid_block\.resnets\.(\d)\.(.+)", path):
        return f"{match[1]}.mid.block_{int(match[2]) + 1}.{match[3]}"
    if match := re.fullmatch(r"(encoder|decoder)\.mid_block\.attentions\.0\.(.+)", path):
        return f"{match[1]}.mid.attn_1.{_VAE_ATTENTION[match[2]]}"
    return path  # the convolutions at either end


def _vae_member(rest: str) -> str:
    rest = re.sub(r"^resnets\.", "block.", rest)
    return re.sub(r"^(down|up)samplers\.0\.", r"\1sample.", rest)
