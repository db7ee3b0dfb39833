"""The factors of one layer's LoRA: that they fit each other, and the change of weight that they stand for."""

import torch
from torch import Tensor

from limner.errors import UserError


def check_factors(factors: dict[str, Tensor], module: str, file: str) -> None:
    """Raise UserError unless a module has lora_down (r, in[, k, k]), lora_up (out, r[, 1, 1]) and a scalar alpha."""
    missing = [leaf for leaf in ("lora_down", "lora_up", "alpha") if leaf not in factors]
    if missing:
        raise UserError(f"{file} lacks {missing[0]} of the layer {module}; the file is incomplete, so use another")
    down, up, alpha = factors["lora_down"], factors["lora_up"], factors["alpha"]
    fits = down.ndim == up.ndim and down.ndim in (2, 4) and up.shape[1] == down.shape[0] and down.shape[0] > 0
    if not (fits and alpha.numel() == 1 and (up.ndim == 2 or up.shape[2:] == (1, 1))):
        raise UserError(
            f"{file} has factors of shapes {tuple(up.shape)} and {tuple(down.shape)} for the layer {module}, "
            "which do not fit together; use another file"
        )


def change(factors: dict[str, Tensor]) -> Tensor:
    """alpha / rank * up @ down, (out, in[, k, k]), float32 on the CPU: the definition in limner.weights."""
    down, up = (factors[leaf].detach().to("cpu", torch.float32) for leaf in ("lora_down", "lora_up"))
    flat_up = up if up.ndim == 2 else up[:, :, 0, 0]
    return float(factors["alpha"]) / down.shape[0] * torch.einsum("or,r...->o...", flat_up, down)
