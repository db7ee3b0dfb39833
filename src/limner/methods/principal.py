"""Factors of a matrix: its main directions, and a product's difference from another in as few as it needs."""

import torch
from torch import Tensor

from limner.methods.form import Leaves, scale

PASSES = 4  # over the weight, to find its main directions; more change nothing that a training would notice
SPARE = 8  # directions beyond those asked for, which are found less well


def principal(weight: Tensor, rank: int, size: float, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """(down, up) whose product is `size` times the weight's best approximation of that rank (PiSSA: Meng et al. 2024,
    arXiv 2404.02948), shaped as a LoRA's; by random projections (Halko et al. 2011, arXiv 0909.4061).

    A layer narrower than the rank gets directions of length zero for the rest.
    """
    matrix = weight.detach().float().cpu().flatten(1)
    wide = min(rank + SPARE, *matrix.shape)
    basis = torch.linalg.qr(matrix @ torch.randn(matrix.shape[1], wide, generator=random)).Q
    for _ in range(PASSES):
        basis = torch.linalg.qr(matrix @ (matrix.t() @ basis)).Q
    left, lengths, right = torch.linalg.svd(basis.t() @ matrix, full_matrices=False)
    root = (size * lengths[:rank]).sqrt()
    down, up = torch.zeros(rank, matrix.shape[1]), torch.zeros(matrix.shape[0], rank)
    down[: len(root)] = root[:, None] * right[:rank]
    up[:, : len(root)] = basis @ left[:, :rank] * root
    return down.view(rank, *weight.shape[1:]), up.view(-1, rank, *[1] * (weight.dim() - 2))


def compressed(leaves: Leaves, start: Leaves) -> dict[str, Tensor]:
    """The LoRA of what one LoRA does more than its start, of twice the rank and scale 1.

    The two products nearly cancel out, which factors in half precision could not show; so their difference is found in
    double precision, and gets factors of its own size.
    """
    size = scale(leaves, leaves["lora_down"].shape[0])
    down = torch.cat([leaves["lora_down"], start["lora_down"]]).double().flatten(1)
    up = torch.cat([leaves["lora_up"], -start["lora_up"]], dim=1).double().flatten(1) * size
    left, right = torch.linalg.qr(up), torch.linalg.qr(down.t())
    u, lengths, v = torch.linalg.svd(left.R @ right.R.t(), full_matrices=False)
    root, rank = lengths.sqrt(), down.shape[0]
    new_down, new_up = torch.zeros_like(down), torch.zeros_like(up)
    new_down[: len(root)] = root[:, None] * (v @ right.Q.t())
    new_up[:, : len(root)] = left.Q @ u * root
    return {
        "lora_down": new_down.float().view(rank, *leaves["lora_down"].shape[1:]),
        "lora_up": new_up.float().view(-1, rank, *leaves["lora_up"].shape[2:]),
        "alpha": torch.tensor(float(rank)),
    }
