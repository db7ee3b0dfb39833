"""How each program reads an embedding's file (interop 2.2, 2.3), as their sources have it; shares nothing with what
writes them."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

# What a file's tensors give to each text encoder of these widths; None if the program does not take the file.
Reader = Callable[[Mapping[str, Tensor], Mapping[str, int]], dict[str, Tensor] | None]

BY_ENCODER = {"text_encoder": "clip_l", "text_encoder_2": "clip_g"}
# What programs do with the file of an embedding for two text encoders, who do not take it.
SINGLE_ONLY = ("stable-diffusion.cpp",)  # who copies the numbers as they lie there, between those of its vocabulary
HALF = "takes its numbers for single-precision ones, which they are not, so that its pictures are noise"
REFUSED = {"diffusers": "refuses the file, of which its two tensors can be given to it one by one"}


def webui(tensors: Mapping[str, Tensor], widths: Mapping[str, int]) -> dict[str, Tensor] | None:
    """A1111 and Forge: `clip_g` and `clip_l` together, else exactly one tensor under any name; of the base's width."""
    if BY_ENCODER.keys() == widths.keys():
        found = {network: tensors[name] for network, name in BY_ENCODER.items() if name in tensors}
    else:
        found = dict(zip(widths, tensors.values(), strict=False)) if len(tensors) == 1 else {}
    rows = {network: torch.atleast_2d(tensor.float()) for network, tensor in found.items()}
    fits = rows.keys() == widths.keys() and all(rows[network].shape[-1] == width for network, width in widths.items())
    return rows if fits else None


def comfyui(tensors: Mapping[str, Tensor], widths: Mapping[str, int]) -> dict[str, Tensor] | None:
    """ComfyUI: each text encoder takes the tensor of its name, else the first; flattened to rows of its width."""
    found = {}
    for network, width in widths.items():
        chosen = tensors.get(BY_ENCODER[network], next(iter(tensors.values()), None))
        if chosen is None or chosen.numel() % width:
            return None
        found[network] = chosen.float().reshape(-1, width)
    return found


def by_width(tensors: Mapping[str, Tensor], widths: Mapping[str, int]) -> dict[str, Tensor] | None:
    """stable-diffusion.cpp: whichever tensor has a text encoder's width, the last one if several have."""
    found = {}
    for network, width in widths.items():
        fitting = [tensor.float().reshape(-1, width) for tensor in tensors.values() if tensor.shape[-1:] == (width,)]
        if not fitting:
            return None
        found[network] = fitting[-1]
    return found


def diffusers(tensors: Mapping[str, Tensor], widths: Mapping[str, int]) -> dict[str, Tensor] | None:
    """diffusers: one tensor, whose name is the token unless `token=` is given; a row a token."""
    if len(tensors) != 1 or len(widths) != 1:
        return None
    ((network, width),) = widths.items()
    rows = [row.float() for row in torch.atleast_2d(*tensors.values()).unbind()]
    return {network: torch.stack(rows)} if rows and rows[0].shape == (width,) else None


READERS: dict[str, Reader] = {
    "A1111": webui,
    "Forge": webui,
    "ComfyUI": comfyui,
    "stable-diffusion.cpp": by_width,
    "diffusers": diffusers,
}
