"""How each program finds a LoRA file's layers (interop 1.6): given a file's tensors and a base's layers, a reader says
which tensors it would apply to which layer and how strongly, and which it would leave lying."""

import json
import re
from typing import Any

from diffusers.loaders import SD3LoraLoaderMixin, StableDiffusionLoraLoaderMixin, StableDiffusionXLLoraLoaderMixin
from diffusers.utils import convert_state_dict_to_diffusers, convert_state_dict_to_peft, convert_unet_state_dict_to_peft
from diffusers.utils.peft_utils import get_peft_kwargs
from torch import Tensor

from limner.base.family import Family
from limner.formats.layers import Layer, Layout
from limner.formats.reading import Metadata, Patch, Reader, Reading, Tensors, refusal
from limner.formats.sdcpp import stable_diffusion_cpp
from limner.formats.webuis import a1111, comfyui, forge

SETTINGS = "lora_adapter_metadata"  # where diffusers keeps PEFT's configuration, a JSON text


def diffusers(tensors: Tensors, layout: Layout, metadata: Metadata) -> Reading:
    """Diffusers' own converters, which are installed here, up to the point where it would hand over to PEFT."""
    try:
        # The converter only moves tensors from name to name, so a copy of the dict tells by identity which went where.
        if layout.family == "sdxl":
            loader = StableDiffusionXLLoraLoaderMixin
            state, alphas = loader.lora_state_dict(dict(tensors), unet_config=layout.unet_config)
        elif layout.family == "sd3":
            state, alphas = SD3LoraLoaderMixin.lora_state_dict(dict(tensors)), {}
        else:
            state, alphas = StableDiffusionLoraLoaderMixin.lora_state_dict(dict(tensors))
        if not all("lora" in key for key in state):
            raise ValueError("it says that the file is not of the right format")
    except (ValueError, KeyError):
        return refusal(tensors)
    patches: dict[str, Patch] = {}
    settings = json.loads(metadata[SETTINGS]) if SETTINGS in metadata else None
    origin = {id(tensor): key for key, tensor in tensors.items()}
    for network in sorted({layer.network for layer in layout.layers}):
        own = _within(network, state)
        if own:
            known = [layer for layer in layout.layers if layer.network == network]
            own_settings = None if settings is None else _within(network, settings)
            is_text, own_alphas = network.startswith("text"), _within(network, alphas or {})
            patches |= _as_peft(own, own_alphas, own_settings, known, not is_text, origin)
    if not patches and any(_within(layer.network, state) for layer in layout.layers):
        return refusal(tensors)  # PEFT finds none of its names for what is there
    used = {key for patch in patches.values() for _, key in patch.keys}
    used |= {f"{key.partition('.')[0]}.alpha" for key in used}
    return Reading(patches, [key for key in tensors if key not in used])


def _within(network: str, entries: dict[str, Any]) -> dict[str, Any]:
    return {key.removeprefix(f"{network}."): each for key, each in entries.items() if key.startswith(f"{network}.")}


def _as_peft(
    state: dict[str, Tensor],
    alphas: dict[str, float],
    settings: dict[str, Any] | None,
    known: list[Layer],
    is_unet: bool,
    origin: dict[int, str],
) -> dict[str, Patch]:
    """What PEFT would make of one network's tensors: its patterns decide each layer's rank and alpha."""
    try:
        if is_unet:
            state = convert_unet_state_dict_to_peft(state)
        else:
            state = convert_state_dict_to_peft(convert_state_dict_to_diffusers(state))
            state = {key.removeprefix("text_model."): tensor for key, tensor in state.items()}
    except ValueError:  # diffusers infers the naming from the tensors that it expects in every file
        return {}
    ranks = {f"^{key}": tensor.shape[1] for key, tensor in state.items() if "lora_B" in key}
    config = settings or get_peft_kwargs(ranks, alphas, state, is_unet=is_unet)
    patches = {}
    for layer in known:
        path = layer.diffusers.removeprefix("text_model.")
        down, up = (state.get(f"{path}.lora_{side}.weight") for side in "AB")
        if down is None or up is None or not _is_adapted(config, path):
            continue
        rank = _pattern(config["rank_pattern"], path, config["r"])
        alpha = _pattern(config["alpha_pattern"], path, config["lora_alpha"])
        if rank == down.shape[0]:
            keys = (("lora_down.weight", origin[id(down)]), ("lora_up.weight", origin[id(up)]))
            patches[layer.name] = Patch("lora", keys, alpha / rank)
    return patches


def _is_adapted(config: dict[str, Any], path: str) -> bool:
    return any(path == target or path.endswith(f".{target}") for target in _plain(config["target_modules"]))


def _plain(targets: list[str]) -> list[str]:
    return [target.removeprefix("text_model.") for target in targets]


def _pattern(patterns: dict[str, float], path: str, default: float) -> float:
    """PEFT's choice: the first pattern that the end of the path matches."""
    return next((value for pattern, value in patterns.items() if re.match(rf"(.*\.)?({pattern})$", path)), default)


def readers_of(family: Family) -> dict[str, Reader]:
    """The programs that are known to read a family's LoRAs in its layout."""
    return READERS if family.denoiser == "unet" else {"ComfyUI": comfyui, "diffusers": diffusers}


READERS: dict[str, Reader] = {
    "A1111": a1111,
    "Forge": forge,
    "ComfyUI": comfyui,
    "stable-diffusion.cpp": stable_diffusion_cpp,
    "diffusers": diffusers,
}
