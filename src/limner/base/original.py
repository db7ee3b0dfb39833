"""Where the original releases' single files hold the tensors of Stable Diffusion 1.x, 2.x and XL.

Our own names are limner.weights': "<network>.<path>" after diffusers and transformers, as in "unet.conv_in.weight".
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

Configs = Mapping[str, Mapping[str, Any]]  # of a model's networks, by diffusers' component names

UNET, VAE = "model.diffusion_model.", "first_stage_model."
# {family: {text encoder: where it is}}. CLIP has `text_model` whatever transformers' version: some readers do not find
# the text encoder without it. OpenCLIP has names of its own.
ENCODERS = {
    "sd1": {"text_encoder": "cond_stage_model.transformer.text_model."},
    "sd2": {"text_encoder": "cond_stage_model.model."},
    "sdxl": {
        "text_encoder": "conditioner.embedders.0.transformer.text_model.",
        "text_encoder_2": "conditioner.embedders.1.model.",
    },
}
# What files hold beside the networks and other programs may look for; it is kept as it was. `model_ema.` is not.
BUFFERS = re.compile(
    r"(alphas_cumprod|sqrt_|log_one_minus|betas|posterior_|logvar|lvlb_weights|scale_factor$|denoiser\.|v_pred$|ztsnr$)"
)
MARKS = {"v_prediction": "v_pred", "zero_terminal_snr": "ztsnr"}  # empty tensors, by which ComfyUI and others know

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
_OPENCLIP = {
    "embeddings.token_embedding.weight": "token_embedding.weight",
    "embeddings.position_embedding.weight": "positional_embedding",
    "final_layer_norm.weight": "ln_final.weight",
    "final_layer_norm.bias": "ln_final.bias",
}
_OPENCLIP_LAYER = {
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "self_attn.out_proj": "attn.out_proj",
}
_THIRDS = {"q_proj": 0, "k_proj": 1, "v_proj": 2}


@dataclass(frozen=True)
class Place:
    """Where a tensor is in the original's file.

    third: which third of the rows of its key's tensor it is, None if it is all of it: OpenCLIP's queries, keys and
    values lie in one. is_pointwise: whether the file may have this matrix as a 1x1 convolution. is_transposed: whether
    it has it the other way round.
    """

    key: str
    third: int | None = None
    is_pointwise: bool = False
    is_transposed: bool = False

    def shape(self, own: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the file's tensor, of that of our own."""
        if self.third is not None:
            return (3 * own[0], *own[1:])
        return (*own, 1, 1) if self.is_pointwise else own[::-1] if self.is_transposed else own

    def take(self, tensor: Tensor) -> Tensor:
        """Our own tensor, a view, of the file's."""
        if self.third is not None:
            return tensor.chunk(3)[self.third]
        if self.is_pointwise and tensor.dim() == 4:
            return tensor[:, :, 0, 0]
        return tensor.T if self.is_transposed else tensor

    def give(self, own: list[Tensor]) -> Tensor:
        """The file's tensor, of our own that share it."""
        if self.third is not None:
            return torch.cat(own)
        if self.is_pointwise:
            return own[0][:, :, None, None]
        return own[0].T if self.is_transposed else own[0]


def family_name(configs: Configs) -> str:
    """The family that networks of these configurations make."""
    if configs.get("text_encoder_2"):
        return "sdxl"
    return "sd2" if configs["unet"].get("use_linear_projection") else "sd1"


def place(name: str, configs: Configs) -> Place:
    """Where the original has one of our own tensors. ValueError for names that it has no place for."""
    network, _, path = name.partition(".")
    if network in ("unet", "vae"):
        module, _, leaf = path.rpartition(".")
        rename, prefix = {"unet": (_unet_module, UNET), "vae": (_vae_module, VAE)}[network]
        is_pointwise = network == "vae" and ".attentions." in path and leaf == "weight" and "group_norm" not in path
        return Place(f"{prefix}{rename(module, configs[network])}.{leaf}", is_pointwise=is_pointwise)
    prefix = ENCODERS[family_name(configs)][network]
    return _openclip(path, prefix) if is_openclip(prefix) else Place(prefix + path)


def places(names: Iterable[str], configs: Configs) -> dict[str, list[tuple[str, Place]]]:
    """{key of the file: our own tensors that are in it, with their places}, in the order of the thirds."""
    found: dict[str, list[tuple[str, Place]]] = {}
    for name in names:
        its = place(name, configs)
        found.setdefault(its.key, []).append((name, its))
    return {key: sorted(own, key=lambda pair: pair[1].third or 0) for key, own in found.items()}


def is_openclip(prefix: str) -> bool:
    """Whether a text encoder's names are OpenCLIP's."""
    return prefix.endswith(".model.")


def with_wrapper(key: str) -> str:
    """A key of CLIP as files from newer libraries have it, with the `text_model.` that they leave out."""
    return re.sub(
        r"^((?:cond_stage_model|conditioner\.embedders\.0)\.transformer\.)(?!text_model\.)", r"\1text_model.", key
    )


def is_kept(key: str, family: str) -> bool:
    """Whether a key that no network of ours has is to be saved again: buffers, and what is a text encoder's."""
    return bool(BUFFERS.match(key)) or any(with_wrapper(key).startswith(prefix) for prefix in ENCODERS[family].values())


def completion(configs: Configs) -> dict[str, Tensor]:
    """What the original's OpenCLIP text encoders have beyond those of transformers, for models that come without.

    No program uses it: the scale of CLIP's loss, and of 2.x, which is read before its last layer, that layer and a
    projection. Here the layer adds nothing and the projection changes nothing; programs that build it find it.
    """
    found: dict[str, Tensor] = {}
    for network, prefix in ENCODERS[family_name(configs)].items():
        if not is_openclip(prefix):
            continue
        found[f"{prefix}logit_scale"] = torch.tensor(100.0).log()
        if network == "text_encoder_2":
            continue
        config = configs[network]
        width, inner = int(config["hidden_size"]), int(config["intermediate_size"])
        layer = f"{prefix}transformer.resblocks.{config['num_hidden_layers']}."
        matrices = {"attn.in_proj_": (3 * width, width), "attn.out_proj.": (width, width)}
        matrices |= {"mlp.c_fc.": (inner, width), "mlp.c_proj.": (width, inner)}
        for name, (rows, columns) in matrices.items():
            found[f"{layer}{name}weight"] = torch.zeros(rows, columns)
            found[f"{layer}{name}bias"] = torch.zeros(rows)
        for norm in ("ln_1.", "ln_2."):
            found[f"{layer}{norm}weight"], found[f"{layer}{norm}bias"] = torch.ones(width), torch.zeros(width)
        found[f"{prefix}text_projection"] = torch.eye(width)
    return found


def _openclip(path: str, prefix: str) -> Place:
    if path == "text_projection.weight":
        return Place(f"{prefix}text_projection", is_transposed=True)
    if path in _OPENCLIP:
        return Place(prefix + _OPENCLIP[path])
    if match := re.fullmatch(r"encoder\.layers\.(\d+)\.(.+)\.(weight|bias)", path):
        layer, module, leaf = match.groups()
        blocks = f"{prefix}transformer.resblocks.{layer}."
        if (third := _THIRDS.get(module.removeprefix("self_attn."))) is not None:
            return Place(f"{blocks}attn.in_proj_{leaf}", third=third)
        return Place(f"{blocks}{_OPENCLIP_LAYER[module]}.{leaf}")
    raise ValueError(f"the original has no place for the text encoder's {path}")


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
