"""Factors of a matrix: its main directions, and a product's difference from another in as few as it needs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from limner.methods.form import Leaves, scale

PASSES = 4  # over the weight, to find its main directions; more change nothing that a training would notice
SPARE = 8  # directions beyond those asked for, which are found less well


@dataclass(frozen=True)
class Directions:
    """Singular directions of a matrix, the longest first: left (out, n), lengths (n,), right (n, in)."""

    left: Tensor
    lengths: Tensor
    right: Tensor


def main_directions(matrix: Tensor, count: int, random: torch.Generator) -> Directions:
    """The longest directions of a float32 matrix on the CPU, by random projections (Halko et al. 2011, arXiv
    0909.4061); fewer than `count` if it is narrower."""
    wide = min(count + SPARE, *matrix.shape)
    basis = torch.linalg.qr(matrix @ torch.randn(matrix.shape[1], wide, generator=random)).Q
    for _ in range(PASSES):
        basis = torch.linalg.qr(matrix @ (matrix.t() @ basis)).Q
    left, lengths, right = torch.linalg.svd(basis.t() @ matrix, full_matrices=False)
    return Directions(basis @ left[:, :count], lengths[:count], right[:count])


def product_directions(up: Tensor, down: Tensor) -> Directions:
    """All directions of up (out, n) @ down (n, in), which is never formed: of both factors' triangles. Double precision
    is for products that nearly cancel out."""
    left, right = torch.linalg.qr(up.double()), torch.linalg.qr(down.double().t())
    u, lengths, v = torch.linalg.svd(left.R @ right.R.t(), full_matrices=False)
    return Directions(left.Q @ u, lengths, v @ right.Q.t())


def principal(weight: Tensor, rank: int, size: float, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """(down, up) whose product is `size` times the weight's best approximation of that rank (PiSSA: Meng et al. 2024,
    arXiv 2404.02948), shaped as a LoRA's.

    A layer narrower than the rank gets directions of length zero for the rest.
    """
    matrix = weight.detach().float().cpu().flatten(1)
    found = main_directions(matrix, rank, random)
    root = (size * found.lengths).sqrt()
    down, up = torch.zeros(rank, matrix.shape[1]), torch.zeros(matrix.shape[0], rank)
    down[: len(root)] = root[:, None] * found.right
    up[:, : len(root)] = found.left * root
    return down.view(rank, *weight.shape[1:]), up.view(-1, rank, *[1] * (weight.dim() - 2))


def compressed(leaves: Leaves, start: Leaves) -> dict[str, Tensor]:
    """The LoRA of what one LoRA does more than its start, of twice the rank and scale 1.

    The two products nearly cancel out, which factors in half precision could not show; so their difference is found in
    double precision, and gets factors of its own size.
    """
    size = scale(leaves, leaves["lora_down"].shape[0])
    down = torch.cat([leaves["lora_down"], start["lora_down"]]).double().flatten(1)
    up = torch.cat([leaves["lora_up"], -start["lora_up"]], dim=1).double().flatten(1) * size
    found = product_directions(up, down)
    root, rank = found.lengths.sqrt(), down.shape[0]
    new_down, new_up = torch.zeros_like(down), torch.zeros_like(up)
    new_down[: len(root)] = root[:, None] * found.right
    new_up[:, : len(root)] = found.left * root
    return {
        "lora_down": new_down.float().view(rank, *leaves["lora_down"].shape[1:]),
        "lora_up": new_up.float().view(-1, rank, *leaves["lora_up"].shape[2:]),
        "alpha": torch.tensor(float(rank)),
    }
