"""Dotted names of adapters' tensors in files: PEFT's, diffusers' old and new, and ComfyUI's."""

import functools
import re
from pathlib import Path

from limner.base.family import Family
from limner.container.header import Header
from limner.errors import UserError
from limner.formats.factors import spellings
from limner.formats.identify import ADAPTERS, kind, naming
from limner.formats.names import neutral_path

ROOTS = {  # of files -> network
    "unet.": "unet",
    "transformer.": "transformer",
    "text_encoder.": "text_encoder",
    "text_encoder_2.": "text_encoder_2",
    "diffusion_model.": "unet",
    "text_encoders.clip_l.transformer.": "text_encoder",
    "text_encoders.clip_h.transformer.": "text_encoder",
    "text_encoders.clip_g.transformer.": "text_encoder_2",
}
WRAPPED = "base_model.model."  # what PEFT puts before the names of a whole model
# The ends of names beside those of kohya's files, and the leaves that they stand for; PEFT's "magnitude",
# "oft_R" and "ia3_l" are in no form of Limner's as they stand.
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
}
_TRANSFORMER = re.compile(  # paths inside diffusers' transformers
    r"(transformer_blocks|single_transformer_blocks)\.\d+\.[a-z_0-9.]+|(pos_embed|time_text_embed|norm_out)\.[a-z_0-9.]+"
    r"|context_embedder|x_embedder|proj_out"
)
_AMBIGUOUS = {"weight", "on_input"}  # which a checkpoint's tensors end with too


@functools.cache
def _ends() -> list[tuple[str, str]]:
    """(end, leaf), the longest first."""
    own = {f".{spelled}": leaf for spelled, leaf in spellings().items() if spelled not in _AMBIGUOUS}
    return sorted((own | _ENDS).items(), key=lambda each: -len(each[0]))


def has_dotted_names(header: Header) -> bool:
    """Whether it is an adapter's file, and every tensor a leaf of a layer that has a dotted name."""
    if naming(header) == "diffusers" and kind(header) in ADAPTERS:
        return True
    return bool(header.shapes) and all(_split(key) for key in header.shapes)


def split_key(key: str, path: Path) -> tuple[str, str]:
    """(a layer's neutral name, a leaf) of a tensor's name in the file `path`. Raises UserError for other names."""
    found = _split(key)
    if found is None:
        raise UserError(f"{path} holds {key}, which is no part of an adapter of Stable Diffusion; use another file")
    return found


def _split(key: str) -> tuple[str, str] | None:
    for end, leaf in _ends():
        if key.endswith(end):
            module = _module(key.removesuffix(end))
            return (module, leaf) if module else None
    return None


def _module(name: str) -> str:
    """The neutral name of a layer, "" if there is no such; attention processors' `attn1.processor.to_q` undone."""
    name = name.removeprefix(WRAPPED).replace(".processor", "")
    root = next((root for root in ROOTS if name.startswith(root)), "")
    network, path = ROOTS.get(root, ""), name.removeprefix(root)
    if not network:  # only of one network, and so without its name
        network = "text_encoder" if path.startswith(("text_model.", "encoder.layers.")) else "unet"
    if network == "transformer":
        return f"{network}.{path}" if _TRANSFORMER.fullmatch(path) else ""
    if network == "unet":
        path = f"{path}.0" if path.endswith(".to_out") else path
    else:
        for part in ("q", "k", "v", "out"):  # as attention processors called them once
            path = f"{path.removesuffix(f'.to_{part}')}.{part}_proj" if path.endswith(f".to_{part}") else path
    inner = neutral_path(path)
    is_text = inner.startswith(("encoder.", "final_layer_norm"))
    return f"{network}.{inner}" if inner and is_text == (network != "unet") else ""


def dotted_name(module: str, known: Family) -> str:
    """ "text_encoder.encoder.layers.0.mlp.fc1" -> "text_encoder.text_model.encoder.layers.0.mlp.fc1", as diffusers has
    it. Raises UserError for a network that the family has not."""
    network, _, path = module.partition(".")
    if network == known.denoiser:
        return module
    if network not in {encoder.name for encoder in known.encoders}:
        raise UserError(f"{known.title} has no {network}, so that no file of it can hold {module}")
    return f"{network}.text_model.{path.removeprefix('text_model.')}"
