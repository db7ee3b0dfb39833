"""The family that an adapter's file is for, told from what nobody can mistype: its layers' names and widths."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from limner.formats.keys import split_key

Shapes = Mapping[str, tuple[int, ...]]
UNETS = ("sd1", "sd2", "sdxl", "sdxl-refiner")  # families with a UNet
FAMILIES = (*UNETS, "sd3", "flux")
_STATES = {768: ("sd1",), 1024: ("sd2",), 2048: ("sdxl",), 1280: ("sdxl-refiner",)}  # widths that cross-attention sees
_TEXT = {768: ("sd1", "sdxl", "sd3", "flux"), 1024: ("sd2",)}  # widths of the first text encoder
_CHANNELS = {320, 640, 1280}  # of the blocks of published UNets; narrower ones may be built otherwise
_LATER = {  # families without a UNet, by names of their layers in adapters
    "flux": r"(double_blocks|single_blocks|single_transformer_blocks)[._]\d",
    "sd3": r"(joint_blocks[._]\d|transformer[._]transformer_blocks[._]\d)",
}
_TRANSFORMERS = re.compile(r"unet\..*attentions\.\d+\.transformer_blocks\.[1-9]")


class Clue(NamedTuple):
    """families: those that have such a thing. reason: what there is, to stand behind "the family is known by"."""

    families: tuple[str, ...]
    reason: str


class _Size(NamedTuple):
    """A layer's channels, as far as its leaves tell them; 0 where they do not."""

    outputs: int
    inputs: int


def proofs(shapes: Shapes) -> list[Clue]:
    """What a file has that not every family has, the strongest first."""
    for name, pattern in _LATER.items():
        if any(re.match(rf".*{pattern}", key) for key in shapes):
            return [Clue((name,), f"it has layers that only {name} has")]
    sizes = _sizes(shapes)
    found = [
        Clue(_STATES[size.inputs], f"the text's states are {size.inputs} wide")
        for layer, size in sizes.items()
        if re.search(r"\.attn2\.to_[kv]$", layer) and size.inputs in _STATES
    ][:1]
    for clue, holds in (
        (
            Clue(("sd1", "sd2"), "it changes attention at the UNet's first level, where XL has none"),
            lambda layer, _: layer.startswith(("unet.down_blocks.0.attentions.", "unet.up_blocks.3.attentions.")),
        ),
        (
            Clue(("sdxl", "sdxl-refiner"), "it changes attention at the UNet's lowest level, where only XL has some"),
            lambda layer, _: layer.startswith("unet.up_blocks.0.attentions."),
        ),
        (
            Clue(("sdxl", "sdxl-refiner"), "its blocks hold several transformers, as only XL's"),
            lambda layer, size: _TRANSFORMERS.match(layer) and _CHANNELS & set(size),
        ),
        (
            Clue(("sdxl", "sdxl-refiner"), "it changes how XL is told sizes"),
            lambda layer, _: layer.startswith("unet.add_embedding."),
        ),
        (
            Clue(("sdxl", "sdxl-refiner", "sd3"), "it changes XL's second text encoder"),
            lambda layer, _: layer.startswith("text_encoder_2."),
        ),
        (
            Clue(UNETS, "its layers are a UNet's"),
            lambda layer, _: layer.startswith("unet."),
        ),
    ):  # fmt: skip
        if any(holds(layer, size) for layer, size in sizes.items()):
            found.append(clue)
    widths = (size.inputs for layer, size in sizes.items() if re.match(r"text_encoder\..*\.(q|k|v)_proj$", layer))
    width = next((width for width in widths if width in _TEXT), None)
    return found + ([] if width is None else [Clue(_TEXT[width], f"its text encoder is {width} wide")])


def hints(shapes: Shapes) -> list[Clue]:
    """What tells the family of a file that says nothing else, the strongest first; the last always applies."""
    layers = {slot.layer: key for key in shapes if (slot := split_key(key))}
    found = []
    if any(_TRANSFORMERS.match(layer) for layer in layers):
        found.append(Clue(("sdxl",), "its blocks hold several transformers, as only XL's"))
    if any(
        layer.endswith((".proj_in", ".proj_out")) and len(shapes[key]) == 4
        for key in shapes
        if (slot := split_key(key)) and (layer := slot.layer) and slot.leaf in ("lora_down", "lora_up", "diff")
    ):
        found.append(Clue(("sd1",), "the ends of its transformers are convolutions, as only 1.x has them"))
    if any(re.match(r"lora_unet_(input|middle|output)_block", key) for key in shapes):
        found.append(Clue(("sdxl",), "its blocks have the first release's names, as in kohya's XL files"))
    return [*found, *(Clue((name,), "nothing in it says otherwise") for name in FAMILIES)]


def _sizes(shapes: Shapes) -> dict[str, _Size]:
    """{neutral name of a layer: its channels}."""
    leaves: dict[str, dict[str, tuple[int, ...]]] = {}
    for key, shape in shapes.items():
        if slot := split_key(key):
            leaves.setdefault(slot.layer, {})[slot.leaf] = shape
    return {layer: _size(own) for layer, own in leaves.items()}


def _size(leaves: Mapping[str, tuple[int, ...]]) -> _Size:
    def axis(leaf: str, at: int) -> int:
        shape = leaves.get(leaf, ())
        return shape[at] if len(shape) > at else 0

    def factor(side: str, at: int) -> int:
        return axis(f"lokr_{side}", at) or axis(f"lokr_{side}_{'ab'[at]}", at)

    cores = {"hada_t1", "lokr_t2", "lora_mid"} & leaves.keys()
    outputs, inputs = axis("lora_up", 0) or axis("diff", 0), axis("lora_down", 1) or axis("diff", 1)
    if not cores:
        outputs = outputs or axis("hada_w1_a", 0) or factor("w1", 0) * factor("w2", 0)
        inputs = inputs or axis("hada_w1_b", 1) or factor("w1", 1) * factor("w2", 1)
    outputs = outputs or axis("oft_blocks", 0) * axis("oft_blocks", 1)
    return _Size(outputs, inputs)
