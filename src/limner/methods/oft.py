"""OFT (Qiu et al. 2023, arXiv 2306.07280; Diag-OFT of LyCORIS): groups of outputs are rotated, and nothing else moves.

W' = R^T W, with R of blocks (I + Q) (I - Q)^-1 (Cayley), Q = B - B^T: the lengths of the neurons' weights, and the
angles between those of a block, stay what they were.
"""

from collections.abc import Mapping
from typing import Annotated, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from limner.config import Usual
from limner.methods.family import AdapterConfig, Adapters
from limner.methods.form import BIAS, Form, Leaves, Seen, Shape, divisor, is_number

SMALL = 1e-8  # as LyCORIS has it


class RotationForm(Form):
    """Blocks B (blocks, size, size). alpha: if above 0, alpha * out is the longest that Q may be. rescale (out, 1[, 1,
    1]) multiplies the rows afterwards. Limner writes neither."""

    name = "oft"
    leaves: ClassVar[Mapping[str, str]] = {"oft_blocks": "oft_blocks", "rescale": "rescale", "alpha": "alpha"} | BIAS
    marks = ("oft_blocks",)
    needs = ("oft_blocks",)

    @classmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        blocks, rescale = leaves["oft_blocks"], leaves.get("rescale")
        if blocks.dim() != 3 or blocks.shape[1] != blocks.shape[2] or not is_number(leaves):
            return False
        outputs = blocks.shape[0] * blocks.shape[1]
        return (rescale is None or rescale.numel() == outputs) and (shape is None or outputs == shape[0])

    @classmethod
    def rank(cls, leaves: Leaves) -> int:
        return leaves["oft_blocks"].shape[1]

    @classmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        turn = turned(leaves, len(weight))
        inside = weight.reshape(*turn.shape[:2], -1)
        change = (turn.transpose(1, 2) @ inside).view(weight.shape)
        if "rescale" not in leaves:
            return change
        size = leaves["rescale"].view(-1, *[1] * (weight.dim() - 1))
        return size * change + (size - 1) * weight

    @classmethod
    def gradients(cls, seen: Seen, leaves: Leaves) -> tuple[Tensor, ...] | None:
        """Of y = R^T u in each block dR = sum(u dy^T), and u = R y."""
        if seen.strength != 1 or "rescale" in leaves:
            return None
        count, size, _ = leaves["oft_blocks"].shape
        y, dy = (part.view(-1, count, size).transpose(0, 1) for part in (seen.outputs, seen.d_outputs))
        products = (y.transpose(1, 2) @ dy).to(seen.weight.dtype)
        if seen.bias is not None:
            total = seen.d_outputs.sum(0, dtype=seen.weight.dtype)
            products -= seen.bias.view(count, size, 1) * total.view(count, 1, size)
        with torch.enable_grad():
            blocks = leaves["oft_blocks"].requires_grad_()
            turn = turned({**leaves, "oft_blocks": blocks}, count * size)
            d_turn = products + turn.detach() @ products
            return torch.autograd.grad(turn, blocks, d_turn)


def turned(leaves: Leaves, outputs: int) -> Tensor:
    """R - I (blocks, size, size), which is 2 Q (I - Q)^-1: exactly nothing where B is."""
    blocks = leaves["oft_blocks"]
    skew = blocks - blocks.transpose(1, 2)
    longest = float(leaves["alpha"]) * outputs if "alpha" in leaves else 0.0
    if longest > 0:
        length = torch.linalg.vector_norm(skew) + SMALL
        skew = skew * (longest / length).clamp(max=1)
    eye = torch.eye(skew.shape[1], dtype=skew.dtype, device=skew.device)
    return 2 * skew @ torch.linalg.inv(eye - skew)


class OFTConfig(AdapterConfig):
    """What an OFT is made of."""

    block_size: Annotated[int, Usual(2, 256)] = Field(
        16, ge=2, le=256, description="Most outputs that are rotated together, as far as a layer's number divides."
    )


class OFT(Adapters):
    """Rotations of the outputs, block by block."""

    Config = OFTConfig
    form = RotationForm
    rates = (0.15, 0.03, 0.03)  # docs/methods.md
    config: OFTConfig

    def start(self, name: str, weight: Tensor, random: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        size = divisor(len(weight), self.config.block_size)  # LyCORIS reads no blocks that are larger than many
        return {"oft_blocks": torch.zeros(len(weight) // size, size, size)}, {"alpha": torch.tensor(0.0)}
