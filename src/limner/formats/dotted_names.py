"""Dotted names of layers in adapters' files: PEFT's, diffusers' old and new, and ComfyUI's."""

import re

from limner.base.family import Family
from limner.errors import UserError
from limner.formats.names import PROJECTION, TEXT, neutral_path

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
_TRANSFORMER = re.compile(  # paths inside diffusers' transformers
    r"(transformer_blocks|single_transformer_blocks)\.\d+\.[a-z_0-9.]+|(pos_embed|time_text_embed|norm_out)\.[a-z_0-9.]+"
    r"|context_embedder|x_embedder|proj_out"
)


def dotted_module(name: str) -> tuple[str, str]:
    """(the neutral name of a layer, the root that its name begins with); both "" if there is no such layer. Attention
    processors' `attn1.processor.to_q` is undone."""
    name = name.removeprefix(WRAPPED).replace(".processor", "")
    root = next((root for root in ROOTS if name.startswith(root)), "")
    layer = _neutral(root, name)
    return (layer, root) if layer else ("", "")


def _neutral(root: str, name: str) -> str:
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
    is_text = inner.startswith(TEXT)
    return f"{network}.{inner}" if inner and is_text == (network != "unet") else ""


def dotted_name(module: str, known: Family) -> str:
    """ "text_encoder.encoder.layers.0.mlp.fc1" -> "text_encoder.text_model.encoder.layers.0.mlp.fc1", as diffusers has
    it. Raises UserError for a network that the family has not."""
    network, _, path = module.partition(".")
    if network == known.denoiser:
        return module
    if network not in {encoder.name for encoder in known.encoders}:
        raise UserError(f"{known.title} has no {network}, so that no file of it can hold {module}")
    inner = path.removeprefix("text_model.")
    return f"{network}.{inner}" if inner == PROJECTION else f"{network}.text_model.{inner}"
