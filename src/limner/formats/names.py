"""The names of an adapter's layers in files and Limner's own, for every family of bases (interop 1.1, 1.5).

kohya writes a path's dots as underscores. It names the UNet's blocks as diffusers does in files for Stable Diffusion 1
and 2, and as the original release does in those for XL; files of others mix families and namings, so both are read.
"""

import re

from limner.base.family import Family
from limner.base.original import UNET, place
from limner.errors import UserError

PREFIXES = {  # of files -> network; the last two are LyCORIS's without kohya's trainer, and kohya's own OFT
    "lora_unet_": "unet",
    "lora_te1_": "text_encoder",
    "lora_te2_": "text_encoder_2",
    "lora_te_": "text_encoder",
    "lycoris_": "unet",
    "oft_unet_": "unet",
}
# By which configuration the original release numbers its blocks, of the families that are named by it in files.
_BY_ORIGINAL = {
    "sdxl": {
        "layers_per_block": 2,
        "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    }
}
_LAYERS = 2  # a block, in every family

# Every part of a module path, in diffusers' UNet and CLIP's text encoder, that an adapted layer lies on. The file
# writes dots as underscores, so that only this list tells where a path like `attn1_to_out_0` is to be cut.
_PARTS = [
    "down_blocks", "mid_block", "up_blocks", "attentions", "resnets", "downsamplers", "upsamplers",
    "transformer_blocks", "attn1", "attn2", "to_q", "to_k", "to_v", "to_out", "ff", "net", "proj", "proj_in",
    "proj_out", "conv", "conv1", "conv2", "conv_in", "conv_out", "conv_shortcut", "time_emb_proj", "time_embedding",
    "add_embedding", "linear_1", "linear_2", "norm", "norm1", "norm2", "norm3", "conv_norm_out", "text_model",
    "encoder", "layers", "self_attn", "q_proj", "k_proj", "v_proj", "out_proj", "mlp", "fc1", "fc2", "layer_norm1",
    "layer_norm2", "final_layer_norm", "text_projection", "embeddings", "token_embedding", "position_embedding",
]  # fmt: skip
_PART = re.compile(rf"({'|'.join(sorted(_PARTS, key=len, reverse=True))}|\d+)(?:[_.]|$)")
_BLOCK = re.compile(r"(input|output)_blocks[_.](\d+)[_.](\d)[_.](.+)")
_MIDDLE = re.compile(r"middle_block[_.]([012])[_.](.+)")
_EDGES = {
    "input_blocks_0_0": "conv_in",
    "out_0": "conv_norm_out",
    "out_2": "conv_out",
    "time_embed_0": "time_embedding.linear_1",
    "time_embed_2": "time_embedding.linear_2",
    "label_emb_0_0": "add_embedding.linear_1",
    "label_emb_0_2": "add_embedding.linear_2",
}
_RESNET = {
    "in_layers_0": "norm1",
    "in_layers_2": "conv1",
    "emb_layers_1": "time_emb_proj",
    "out_layers_0": "norm2",
    "out_layers_3": "conv2",
    "skip_connection": "conv_shortcut",
}


PROJECTION = "text_projection"  # of the pooled state, which lies outside of CLIP's `text_model`
TEXT = ("encoder.", "embeddings.", "final_layer_norm", PROJECTION)  # how a text encoder's paths begin
# Which of the text encoders have the projection in diffusers' layout.
PROJECTED = {("sdxl", "text_encoder_2"), ("sd3", "text_encoder"), ("sd3", "text_encoder_2")}
_CONVOLUTIONS = re.compile(r"unet\.(.+\.)?(conv1|conv2|conv|conv_in|conv_out|conv_shortcut)")


def file_name(module: str, known: Family) -> str:
    """ "unet.mid_block.attentions.0.proj_in" -> "lora_unet_mid_block_attentions_0_proj_in", as kohya names it.

    A text encoder's path gets back the `text_model` that transformers 5.6 and later leave out of it. Raises UserError
    for a network or a layer that the family has not.
    """
    network, _, path = module.partition(".")
    if network == "unet":
        return "lora_unet_" + _unet_path(path, known).replace(".", "_")
    prefix = next((encoder.prefix for encoder in known.encoders if encoder.name == network), None)
    if prefix is None:
        raise UserError(f"{known.title} has no {network}, so that no file of it can hold {module}")
    inner = path.removeprefix("text_model.").replace(".", "_")
    return f"{prefix}_{inner}" if inner == PROJECTION else f"{prefix}_text_model_{inner}"


def _unet_path(path: str, known: Family) -> str:
    if known.name not in _BY_ORIGINAL:
        return path
    try:
        named = place(f"unet.{path}.weight", {"unet": _BY_ORIGINAL[known.name]}).key
    except (KeyError, IndexError, ValueError) as error:
        raise UserError(
            f"the UNet of {known.title} has no layer {path}; train only layers that every program knows"
        ) from error
    return named.removeprefix(UNET).removesuffix(".weight")


def neutral_name(name: str) -> str:
    """The inverse of file_name, of any family; "" for a layer that no Stable Diffusion has."""
    for prefix, network in PREFIXES.items():
        if name.startswith(prefix):
            inner = neutral_path(name.removeprefix(prefix))
            if inner:
                return f"{network}.{inner}" if inner.startswith(TEXT) == (network != "unet") else ""
    return ""


def kernel_of(module: str, family: str) -> int:
    """The side of a layer's kernel, 0 of a matrix: by its name alone, which in every family says it."""
    if module.startswith("unet.") and module.endswith((".proj_in", ".proj_out")):
        return 1 if family == "sd1" else 0
    if not _CONVOLUTIONS.fullmatch(module):
        return 0
    return 1 if module.endswith("conv_shortcut") else 3


def lacking(module: str, family: Family) -> str:
    """What a family's bases lack for a layer to be theirs, in words; "" if nothing."""
    network, _, path = module.partition(".")
    if network not in family.networks:
        return f"{family.title} has no {network}"
    if path == PROJECTION and (family.name, network) not in PROJECTED:
        return f"{family.title} has no {PROJECTION} in its {network}"
    return ""


def neutral_path(path: str) -> str:
    """A layer's path inside its network as diffusers and transformers have it, from theirs or the original release's,
    with dots or underscores; "" if it is none."""
    inner = _from_original(path.replace(".", "_")) or path
    parts = _split(inner)
    return ".".join(parts[1:] if parts[:1] == ["text_model"] else parts)


def _from_original(path: str) -> str:
    """diffusers' path of a layer in the original release's UNet, or ""."""
    if path in _EDGES:
        return _EDGES[path]
    if match := _MIDDLE.fullmatch(path):
        place, rest = int(match[1]), match[2]
        if place == 1:
            return f"mid_block.attentions.0.{rest}"
        return f"mid_block.resnets.{place // 2}.{_RESNET[rest]}" if rest in _RESNET else ""
    match = _BLOCK.fullmatch(path)
    if match is None:
        return ""
    place, member, rest = int(match[2]) - (match[1] == "input"), int(match[3]), match[4]
    side = "down" if match[1] == "input" else "up"
    block, layer = divmod(place, _LAYERS + 1)
    if rest in ("op", "conv"):
        return f"{side}_blocks.{block}.{side}samplers.0.conv"
    if member == 0:
        return f"{side}_blocks.{block}.resnets.{layer}.{_RESNET[rest]}" if rest in _RESNET else ""
    return f"{side}_blocks.{block}.attentions.{layer}.{rest}"


def _split(path: str) -> list[str]:
    parts, at = [], 0
    while at < len(path):
        match = _PART.match(path, at)
        if match is None:
            return []
        parts.append(match[1])
        at = match.end()
    return parts
