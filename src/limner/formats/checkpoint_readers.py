"""What other programs make of a whole model's file: diffusers by its own converters, the rest by the names and shapes
that the modules of the original releases have."""

from pathlib import Path
from typing import Any

import torch
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from torch import Tensor

from limner.base.model import BaseModel
from limner.base.original import ENCODERS, UNET, is_openclip
from limner.base.single import own_name
from limner.container.header import read_tensors
from limner.errors import UserError
from limner.formats.layers import layers
from limner.formats.verify import ReaderReport
from limner.weights import KEPT, Weights

BY_ORIGINAL_NAMES = ("A1111", "Forge", "ComfyUI", "stable-diffusion.cpp")  # they build the release's own classes


def verify(path: Path, model: BaseModel, weights: Weights, name: str) -> list[ReaderReport]:
    """Read a file as every program would, and compare. Raises UserError if any would read other weights."""
    file = read_tensors(path)
    wanted = {own: tensor for own, tensor in weights.tensors.items() if not own.startswith(KEPT)}
    found = _by_diffusers(file, model)
    largest = _compare(found, wanted, name, "diffusers")
    if missing := wanted.keys() - found.keys():
        raise UserError(f"diffusers would not find {min(missing)} in {name}; save it again, and report it")
    reports = [ReaderReport("diffusers", len(found), (), largest)]
    by_layer = {}
    for layer in layers(model):
        if layer.network == "unet":
            by_layer[f"{layer.name}.weight"] = _find(file, f"{UNET}{layer.original}.weight", name)
    largest = _compare(by_layer, wanted, name, "A1111")
    count = len(by_layer) + sum(_check_text(file, model, part, name) for part in ENCODERS[model.family.name])
    return reports + [ReaderReport(reader, count, (), largest) for reader in BY_ORIGINAL_NAMES]


def _find(file: dict[str, Tensor], key: str, name: str) -> Tensor:
    if key not in file:
        raise UserError(f"A1111 would not find {key} in {name}; save it again, and report it if this recurs")
    return file[key]


def _check_text(file: dict[str, Tensor], model: BaseModel, part: str, name: str) -> int:
    """How many tensors of a text encoder the original's class finds, which is all. Raises UserError."""
    encoder, prefix = model.networks[part], ENCODERS[model.family.name][part]
    if is_openclip(prefix):
        shapes = _openclip_shapes(encoder.config, layers=encoder.config.num_hidden_layers + (part == "text_encoder"))
    else:
        shapes = {own_name(own): tuple(tensor.shape) for own, tensor in encoder.state_dict().items()}
    for own, shape in shapes.items():
        if tuple(_find(file, prefix + own, name).shape) != shape:
            raise UserError(f"A1111 would find {prefix}{own} of another shape in {name}; save it again, and report it")
    return len(shapes)


def _openclip_shapes(config: Any, layers: int) -> dict[str, tuple[int, ...]]:
    """The tensors of OpenCLIP's text tower."""
    width, inner = config.hidden_size, config.intermediate_size
    projection = width if layers > config.num_hidden_layers else config.projection_dim
    shapes: dict[str, tuple[int, ...]] = {
        "positional_embedding": (config.max_position_embeddings, width),
        "token_embedding.weight": (config.vocab_size, width),
        "ln_final.weight": (width,),
        "ln_final.bias": (width,),
        "text_projection": (width, projection),
        "logit_scale": (),
    }
    for layer in range(layers):
        block = f"transformer.resblocks.{layer}"
        shapes |= {f"{block}.{norm}.{leaf}": (width,) for norm in ("ln_1", "ln_2") for leaf in ("weight", "bias")}
        shapes |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        for module, rows, columns in (
            ("attn.out_proj", width, width),
            ("mlp.c_fc", inner, width),
            ("mlp.c_proj", width, inner),
        ):
            shapes |= {f"{block}.{module}.weight": (rows, columns), f"{block}.{module}.bias": (rows,)}
    return shapes


def _by_diffusers(file: dict[str, Tensor], model: BaseModel) -> dict[str, Tensor]:
    """Everything that diffusers finds in a file, under limner.weights' names."""
    configs: dict[str, Any] = {part: dict(model.networks[part].config) for part in ("unet", "vae")}
    found = {f"unet.{key}": t for key, t in convert_ldm_unet_checkpoint(dict(file), configs["unet"]).items()}
    found |= {f"vae.{key}": t for key, t in convert_ldm_vae_checkpoint(dict(file), configs["vae"]).items()}
    for part, prefix in ENCODERS[model.family.name].items():
        if is_openclip(prefix):
            text = convert_open_clip_checkpoint(model.networks[part], dict(file), prefix=prefix)
            if part == "text_encoder":  # transformers' class has no place for 2.x's last layer and projection
                last = f"encoder.layers.{model.networks[part].config.num_hidden_layers}."
                text = {k: t for k, t in text.items() if last not in k and k != "text_projection.weight"}
        else:
            text = convert_ldm_clip_checkpoint(dict(file))
        found |= {f"{part}.{own_name(key)}": tensor for key, tensor in text.items() if "position_ids" not in key}
    return found


def _compare(found: dict[str, Tensor], wanted: dict[str, Tensor], name: str, reader: str) -> float:
    """The largest relative error of a tensor; UserError if one is more than rounding off, or has no partner."""
    largest = 0.0
    for own, tensor in found.items():
        want = wanted.get(own)
        if want is None or want.shape != tensor.shape:
            raise UserError(f"{reader} would read {own} in {name} otherwise than it was trained; report this")
        want = want.detach().to("cpu", torch.float32)
        info = torch.finfo(tensor.dtype)
        allowed = info.eps / 2 * want.abs() + info.smallest_normal * info.eps
        error = (tensor.float() - want).abs()
        if bool((error > allowed).any()):
            raise UserError(f"{reader} would read {own} in {name} otherwise than it was trained; report this")
        largest = max(largest, float(error.norm() / want.norm().clamp(min=torch.finfo(torch.float32).tiny)))
    return largest
