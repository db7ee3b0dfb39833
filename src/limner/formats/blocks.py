"""The layers that an adapter's file changes, told from its header: in which part of which network, of what rank."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from limner.container.header import Header
from limner.formats.identify import BUNDLE, naming

_DOWN = ("lora_down.weight", "lora_A.weight", "lora_A", "lora.down.weight", "lora_linear_layer.down.weight")
_RANKED = dict.fromkeys((*_DOWN, "hada_w1_b", "lokr_w2_b", "lokr_w1_b"), 0) | {"oft_blocks": 1}  # the axis of the rank
_LEAF = re.compile(  # behind a dotted path, in any of the spellings that there are
    r"(\.(lora_(down|up|mid|A|B)(\.default)?(\.weight)?|lora(_linear_layer)?\.(down|up)\.weight|lora_magnitude_vector.*"
    r"|(hada|lokr|oft|ia3)_\w+(\.default)?(\.weight)?|dora_scale|alpha|scale|diff(_b)?|[wb]_norm|rescale|on_input|weight"
    r"|oft_R\.scaled_oft|magnitude)"
    r"|_lora\.(down|up)\.weight)$"
)
_WRAPPED = "base_model.model."  # what PEFT puts before the names of a whole model
_NETWORKS = {  # how a layer's name begins, the longer ones first
    "lora_te2_": "text_encoder_2", "text_encoder_2.": "text_encoder_2", "lora_te3_": "text_encoder_3",
    "lora_te": "text_encoder", "text_encoder.": "text_encoder", "lora_unet_": "unet", "oft_unet_": "unet",
    "text_encoders.clip_g.": "text_encoder_2", "text_encoders.": "text_encoder", "unet.": "unet",
    "lycoris_": "unet", "diffusion_model.": "unet", "transformer.": "transformer",
    "model.diffusion_model.": "unet", "model_ema.": "average", "first_stage_model.": "vae", "vae.": "vae",
    "cond_stage_model.": "text_encoder", "conditioner.embedders.0.": "text_encoder",
    "conditioner.embedders.1.": "text_encoder_2",
}  # fmt: skip
_UNET = re.compile(r"(lora_unet_|oft_unet_|unet\.|lycoris_|(model\.)?diffusion_model\.)")
_BLOCKS = {
    "down": r"(down|input)_blocks?[._]",
    "mid": r"mid(dle)?_block[._]",
    "up": r"(up|output)_blocks?[._]",
    "transformer": r"(double_blocks|single_blocks|joint_blocks|transformer_blocks)[._]",
}
_BARE = "|".join(_BLOCKS[block] for block in ("down", "mid", "up"))


@dataclass(frozen=True)
class Block:
    """A part of a network. ranks, alphas: {value: number of layers}; an OFT's rank is the size of its blocks."""

    modules: int
    ranks: dict[int, int]
    alphas: dict[float, int]


def layers_of(header: Header) -> dict[str, list[str]]:
    """{a layer as the file calls it: names of its tensors}, without embeddings that the file brings along."""
    by_dot = naming(header) == "kohya"
    found: dict[str, list[str]] = {}
    for name in header.shapes:
        if not name.startswith(BUNDLE):
            module = name.partition(".")[0] if by_dot else _LEAF.sub("", name)
            found.setdefault(module, []).append(name)
    return found


def network_of(layer: str) -> str:
    """ "unet", "text_encoder", "text_encoder_2", "vae", "transformer", a checkpoint's "average", or "other"."""
    path = layer.removeprefix(_WRAPPED)
    found = next((network for start, network in _NETWORKS.items() if path.startswith(start)), "other")
    # PEFT's names of one network alone say only what is in it
    return "unet" if found == "other" and re.match(_BARE, path) else found


def block_of(layer: str) -> str:
    """Of a UNet "down", "mid", "up" or "ends", what lies around them; of other networks their name."""
    network = network_of(layer)
    if network != "unet":
        return network
    path = _UNET.sub("", layer.removeprefix(_WRAPPED), count=1)
    return next((block for block, pattern in _BLOCKS.items() if re.match(pattern, path)), "ends")


def blocks_of(header: Header, alphas: Mapping[str, float]) -> dict[str, Block]:
    """The blocks that a file changes. alphas: {layer: its alpha}."""
    order = [*_BLOCKS, "ends", *dict.fromkeys(_NETWORKS.values()), "other"]
    members: dict[str, list[tuple[str, list[str]]]] = {}
    for layer, names in layers_of(header).items():
        members.setdefault(block_of(layer), []).append((layer, names))
    return {
        block: Block(
            len(members[block]),
            counted(rank for _, names in members[block] for rank in _ranks(header, names)),
            counted(alphas[layer] for layer, _ in members[block] if layer in alphas),
        )
        for block in dict.fromkeys(order)
        if block in members
    }


def counted(values: Iterable[Any]) -> dict[Any, int]:
    """{value: how often}, the commonest first."""
    return dict(Counter(values).most_common())


def _ranks(header: Header, names: Iterable[str]) -> list[int]:
    """The rank of one layer, if it has one."""
    for name in names:
        axis = next((axis for leaf, axis in _RANKED.items() if name.replace(".default.", ".").endswith(leaf)), None)
        if axis is not None and header.shapes[name][axis:]:
            return [header.shapes[name][axis]]
    return []
