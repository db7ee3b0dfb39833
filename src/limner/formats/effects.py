"""What programs do to a weight with an adapter's tensors, written from their side (interop 1.2-1.7).

Nothing is shared with limner.methods, whose formulas are checked against these.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Leaves = Mapping[str, Tensor]  # by their names in files, float32


def effect(way: str, leaves: Leaves, weight: Tensor, scale: float | None) -> Tensor:
    """The change of a weight (out, in[, k, k]) at strength 1, flat in whatever way the program leaves it.

    way: one of WAYS, and behind a comma for DoRA's lengths "dora by column", of inputs,
    which is A1111's, or "dora by old row", of outputs as they were before, which is ComfyUI's. scale: instead of the
    file's.
    """
    kind, _, dora = re.sub(r", $", "", way).partition(", ")
    added = WAYS[kind](leaves, weight, scale)
    if not dora:
        return added
    merged, lengths = weight + added.reshape(weight.shape), leaves["dora_scale"]
    ones = [1] * (weight.dim() - 1)
    if dora == "dora by old row" and lengths.shape[0] == weight.shape[0]:
        norm = weight.reshape(len(weight), -1).norm(dim=1).reshape(-1, *ones)
    else:
        norm = merged.transpose(0, 1).reshape(weight.shape[1], -1).norm(dim=1).reshape(1, -1, *ones[1:])
    return merged * (lengths / norm) - weight


def _lora(leaves: Leaves, weight: Tensor, scale: float | None) -> Tensor:
    down, up, core = leaves["lora_down.weight"], leaves["lora_up.weight"], leaves.get("lora_mid.weight")
    scale = _by_rank(leaves, len(down)) if scale is None else scale
    if core is not None:
        inner = torch.einsum("abkl,bi->aikl", core, down.reshape(len(down), -1))
        return scale * torch.einsum("oa,aikl->oikl", up.reshape(len(up), -1), inner)
    return scale * (up.reshape(len(up), -1) @ down.reshape(len(down), -1))


def _loha(leaves: Leaves, weight: Tensor, scale: float | None) -> Tensor:
    halves = []
    for side in "12":
        a, b, core = leaves[f"hada_w{side}_a"], leaves[f"hada_w{side}_b"], leaves.get(f"hada_t{side}")
        halves.append(a @ b if core is None else torch.einsum("abkl,ao,bi->oikl", core, a, b))
    return _by_rank(leaves, len(leaves["hada_w1_b"])) * halves[0] * halves[1]


def _lokr(leaves: Leaves, weight: Tensor, scale: float | None) -> Tensor:
    rank, sides = None, []
    for side in ("lokr_w1", "lokr_w2"):
        if side in leaves:
            sides.append(leaves[side])
            continue
        a, b = leaves[f"{side}_a"], leaves[f"{side}_b"]
        rank = len(b)
        core = leaves.get("lokr_t2")
        sides.append(a @ b if core is None else torch.einsum("abkl,ao,bi->oikl", core, a, b))
    small, large = sides
    if large.dim() == 4:
        small = small[:, :, None, None]
    return (1.0 if rank is None else _by_rank(leaves, rank)) * torch.kron(small, large.contiguous())


def _oft(leaves: Leaves, weight: Tensor, scale: float | None) -> Tensor:
    return _turned(leaves, weight, float(leaves.get("alpha", 0.0)) * len(weight))


def _oft_by_alpha(leaves: Leaves, weight: Tensor, scale: float | None) -> Tensor:
    """ComfyUI's, whose bound is the alpha itself (comfy/weight_adapter/oft.py, October 2025)."""
    return _turned(leaves, weight, float(leaves.get("alpha", 0.0)))


def _turned(leaves: Leaves, weight: Tensor, bound: float) -> Tensor:
    blocks = leaves["oft_blocks"]
    size = blocks.shape[1]
    skew = blocks - blocks.transpose(1, 2)
    if bound:
        skew = skew * (min(float(skew.norm()), bound) / (float(skew.norm()) + 1e-8))
    eye = torch.eye(size)
    turn = (eye + skew) @ (eye - skew).inverse()
    turned = torch.einsum("knm,kni->kmi", turn, weight.reshape(len(blocks), size, -1)).reshape(weight.shape)
    if "rescale" in leaves:
        turned = turned * leaves["rescale"].reshape(-1, *[1] * (weight.dim() - 1))
    return turned - weight


def _ia3(leaves: Leaves, weight: Tensor, scale: float | None) -> Tensor:
    """A1111 lays numbers of outputs along the last but one axis, which of a convolution is not the outputs'."""
    numbers = leaves["weight"]
    return weight * (numbers if bool(leaves["on_input"]) else numbers.reshape(-1, 1))


def _by_rank(leaves: Leaves, rank: int) -> float:
    return float(leaves["alpha"]) / rank if "alpha" in leaves else 1.0


WAYS: dict[str, Callable[[Leaves, Tensor, float | None], Tensor]] = {
    "lora": _lora,
    "loha": _loha,
    "lokr": _lokr,
    "oft": _oft,
    "oft by alpha": _oft_by_alpha,
    "ia3": _ia3,
}
