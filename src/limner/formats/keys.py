"""The names of an adapter's tensors in files, kohya's and dotted ones alike: of which layer each is, and which leaf."""

import functools
from dataclasses import dataclass

from limner.formats.dotted_names import WRAPPED, dotted_module
from limner.formats.factors import spellings
from limner.formats.names import PREFIXES, neutral_name

COMFY_ROOTS = ("diffusion_model.", "text_encoders.")  # how names begin that only ComfyUI's own nodes and tools write
# The ends of names beside those of kohya's files, and the leaves that they stand for; PEFT's "magnitude", "oft_R",
# "scaled_oft", "ia3_l" and A1111's "scale" are in no form of Limner's as they stand.
_ENDS = {
    f"{start}{end}": leaf
    for start, leaf in (
        (".lora_A", "lora_down"),
        (".lora_B", "lora_up"),
        (".lora_magnitude_vector", "magnitude"),
        (".oft_R", "oft_R"),
        (".ia3_l", "ia3_l"),
    )
    for end in ("", ".default", ".weight", ".default.weight")
} | {
    f"{start}.{side}.weight": leaf
    for start in (".lora", "_lora", ".lora_linear_layer")
    for side, leaf in (("down", "lora_down"), ("up", "lora_up"))
} | {
    ".magnitude": "magnitude",
    ".oft_R.scaled_oft": "scaled_oft",
    ".scale": "scale",
}  # fmt: skip
_AMBIGUOUS = {"weight", "on_input", "scale"}  # which a checkpoint's tensors end with too
_MOST_REMEMBERED = 2**15  # names; the files of a shelf repeat them


@dataclass(frozen=True)
class Slot:
    """What a tensor's name stands for: a leaf of a layer under its neutral name. origin: "kohya", "comfyui", "peft"
    (with PEFT's wrapper), "diffusers" (with a network's name) or "bare" (without any), as the name begins."""

    layer: str
    leaf: str
    origin: str


@functools.cache
def _ends() -> list[tuple[str, str]]:
    """(end, leaf), the longest first."""
    own = {f".{spelled}": leaf for spelled, leaf in spellings().items()}
    return sorted((own | _ENDS).items(), key=lambda each: -len(each[0]))


@functools.lru_cache(maxsize=_MOST_REMEMBERED)
def split_key(key: str) -> Slot | None:
    """The layer and the leaf of a tensor's name; None for a name that is no part of an adapter of Stable Diffusion."""
    is_kohya = key.startswith(tuple(PREFIXES))
    for end, leaf in _ends():
        if key.endswith(end) and (is_kohya or leaf not in _AMBIGUOUS):
            layer, origin = layer_of(key.removesuffix(end))
            return Slot(layer, leaf, origin) if layer else None
    return None


def layer_of(name: str) -> tuple[str, str]:
    """(the neutral name of a layer, how the file's name of it begins), ("", "") if no Stable Diffusion has it."""
    if name.startswith(tuple(PREFIXES)):
        layer = neutral_name(name)
        return (layer, "kohya") if layer else ("", "")
    layer, root = dotted_module(name)
    if not layer:
        return "", ""
    if name.startswith(WRAPPED):
        return layer, "peft"
    return layer, "comfyui" if root.startswith(COMFY_ROOTS) else "diffusers" if root else "bare"


def owner_of(key: str) -> str:
    """The layer to which a tensor belongs whose leaf is not known, by its name up to a dot; "" if there is none."""
    name = key
    while "." in name:
        name = name.rpartition(".")[0]
        layer, _ = layer_of(name)
        if layer:
            return layer
    return ""
