"""A layer's change as a product of two thin matrices, with its scale in them: what LoRAs are taken apart into."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limner.edit.ranks import Budget
from limner.errors import UserError
from limner.methods.form import Leaves, form_of, scale
from limner.methods.principal import Directions, product_directions

Kernel = tuple[int, ...]  # of a convolution; () of a linear layer


@dataclass(frozen=True)
class Factored:
    """up (out, n) @ down (n, in * k * k), and what is added to the layer's bias (out,), float32 on the CPU."""

    up: Tensor
    down: Tensor
    kernel: Kernel = ()
    bias: Tensor | None = None

    @property
    def rank(self) -> int:
        return self.down.shape[0]

    def directions(self) -> Directions:
        return product_directions(self.up, self.down)

    def balanced(self) -> "Factored":
        """The same product with each direction's length shared evenly by the two matrices, so that neither has numbers
        too small for half precision."""
        above, below = (self.up.norm(dim=0), self.down.norm(dim=1))
        ratio = torch.where((above > 0) & (below > 0), below / above, 1.0).sqrt()
        return replace(self, up=self.up * ratio, down=self.down / ratio[:, None])

    def times(self, strength: float) -> "Factored":
        bias = None if self.bias is None else self.bias * strength
        return Factored(self.up * strength, self.down, self.kernel, bias)


def factored(leaves: Leaves, layer: str, file: str) -> Factored:
    """A LoRA's layer; a core between its matrices is multiplied into the second. Raises UserError for another form,
    whose change may depend on the weight, or is no product of thin matrices."""
    form = form_of(leaves)
    if form is None or form.name != "lora":
        name = "no LoRA" if form is None else f"a {form.name}"
        raise UserError(
            f"{file} is {name} in the layer {layer}, and this works on LoRAs; merge it into its base (limner merge), "
            "then take a LoRA out of the result (limner extract)"
        )
    down, up = (leaves[leaf].detach().to("cpu", torch.float32) for leaf in ("lora_down", "lora_up"))
    kernel: Kernel = tuple(down.shape[2:])
    size = scale(leaves, down.shape[0])
    if "lora_mid" in leaves:
        core = leaves["lora_mid"].detach().to("cpu", torch.float32)
        kernel = tuple(core.shape[2:])
        down = torch.einsum("ab...,bi->ai...", core, down.flatten(1))
    bias = leaves["diff_b"].detach().to("cpu", torch.float32) if "diff_b" in leaves else None
    return Factored(up.flatten(1) * size, down.flatten(1), kernel, bias)


def joined(parts: Sequence[Factored]) -> Factored:
    """The sum of changes of one layer, exactly: their ranks add up."""
    if len(parts) == 1:
        return parts[0]
    biases = [part.bias for part in parts if part.bias is not None]
    return Factored(
        torch.cat([part.up for part in parts], dim=1),
        torch.cat([part.down for part in parts]),
        parts[0].kernel,
        torch.stack(biases).sum(0) if biases else None,
    )


def shortened(whole: Factored, budget: Budget) -> tuple[Factored, float, float]:
    """As few directions as the budget says, and the squared length of the whole change and of what is kept."""
    found = whole.directions()
    squares = found.lengths.square()
    there = float(squares.sum())
    kept = budget.rank_of(found.lengths, there)
    return replace(cut(found, kept, whole.kernel), bias=whole.bias), there, float(squares[:kept].sum())


def cut(found: Directions, rank: int, kernel: Kernel) -> Factored:
    """The longest directions, each's length shared evenly by the two matrices."""
    root = found.lengths[:rank].sqrt()
    up, down = found.left[:, :rank] * root, root[:, None] * found.right[:rank]
    return Factored(up.float(), down.float(), kernel)


def to_tensors(layers: dict[str, Factored], dtype: torch.dtype) -> dict[str, Tensor]:
    """LoRA tensors under neutral names, in a number format; `layers` is emptied on the way, for it may be large.

    alpha is the largest rank there is, in all layers alike (one program mixes up those that differ), so that of layers
    of that rank the matrices alone are the change; of others the rest of the scale lies in the matrices. A layer
    without any direction gets one of length zero.
    """
    alpha = float(max((layer.rank for layer in layers.values()), default=1) or 1)
    tensors = {}
    for name in list(layers):
        layer = layers.pop(name)
        up, down, rank = layer.up, layer.down, layer.rank
        if not rank:
            up, down, rank = torch.zeros(len(up), 1), torch.zeros(1, down.shape[1]), 1
        root = (rank / alpha) ** 0.5
        ones = [1] * len(layer.kernel)
        tensors[f"{name}.lora_down"] = (down * root).to(dtype).reshape(rank, -1, *layer.kernel).contiguous()
        tensors[f"{name}.lora_up"] = (up * root).to(dtype).reshape(len(up), rank, *ones).contiguous()
        tensors[f"{name}.alpha"] = torch.tensor(alpha)
        if layer.bias is not None:
            tensors[f"{name}.diff_b"] = layer.bias.to(dtype)
    return tensors
