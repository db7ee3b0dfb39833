"""Forms in which other programs train and Limner does not: their files are read and used, never written."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from limner.methods.form import BIAS, Form, Leaves, Shape, is_number, scale
from limner.methods.oft import SMALL


class DifferenceForm(Form):
    """LyCORIS's "full", and ComfyUI's of normalisations too: the change itself, of the weight, of the bias, or both."""

    name = "full"
    is_written = False
    axes = 1
    leaves: ClassVar[Mapping[str, str]] = {"diff": "diff"} | BIAS
    marks = ("diff", "diff_b")
    needs = ()

    @classmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        if "diff" not in leaves:
            return shape is None or leaves["diff_b"].numel() == shape[0]
        diff, bias = leaves["diff"], leaves.get("diff_b")
        outputs = bias is None or bias.numel() == len(diff)
        if diff.dim() < 1 or not outputs:
            return False
        return shape is None or (len(diff) == shape[0] and diff.numel() == torch.Size(shape).numel())

    @classmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        return leaves["diff"].reshape(weight.shape) if "diff" in leaves else torch.zeros_like(weight)


class NormForm(Form):
    """LyCORIS's "norm": the changes of a normalisation's weight and bias, each (channels,)."""

    name = "norm"
    is_written = False
    axes = 1
    leaves: ClassVar[Mapping[str, str]] = {"w_norm": "w_norm", "b_norm": "b_norm"}
    marks = ("w_norm", "b_norm")
    needs = ("w_norm",)

    @classmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        return all(leaf.dim() == 1 and (shape is None or tuple(leaf.shape) == shape) for leaf in leaves.values())

    @classmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        return leaves["w_norm"]

    @classmethod
    def bias_change(cls, bias: Tensor, leaves: Leaves) -> Tensor | None:
        return leaves.get("b_norm")


class GeneralForm(Form):
    """GLoRA (Chavan et al. 2023, arXiv 2306.07967): W' = W + alpha / rank * (W A + B), A and B of rank `rank`.

    LyCORIS swapped the factors' names between its versions. Now A = a1 @ a2 and B = b1 @ b2, before it was A = a2 @ a1
    and B = b2 @ b1; the shapes tell which: b1 has as many columns as b2 has rows now, or the other way round. B of a
    convolution has its kernel in the factor on the side of the inputs, or a core bm (rank, rank, k, k) between the two.
    """

    name = "glora"
    is_written = False
    leaves: ClassVar[Mapping[str, str]] = {
        **{leaf: f"{leaf}.weight" for leaf in ("a1", "a2", "b1", "b2", "bm")},
        "alpha": "alpha",
    } | BIAS
    marks = ("a1", "a2", "b1", "b2")
    needs = marks

    @classmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        if not is_number(leaves) or any(leaves[leaf].dim() not in (2, 4) for leaf in cls.needs):
            return False
        out, into, left, right = _ordered(leaves)
        rank = out.shape[1]
        inner = {left.shape[1], right.shape[0], rank, into.shape[0]}
        if len(inner) > 1 or left.shape[0] != right.shape[1] or ("bm" in leaves and leaves["bm"].dim() != 4):
            return False
        return shape is None or (out.shape[0], left.shape[0]) == shape[:2]

    @classmethod
    def rank(cls, leaves: Leaves) -> int:
        return _ordered(leaves)[0].shape[1]

    @classmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        out, into, left, right = _ordered(leaves)
        inputs = left.flatten(1) @ right.flatten(1)
        if "bm" in leaves:
            added = torch.einsum("oa,ab...,bi->oi...", out.flatten(1), leaves["bm"], into.flatten(1))
        else:
            added = (out.flatten(1) @ into.flatten(1)).view(weight.shape)
        return scale(leaves, out.shape[1]) * (torch.einsum("oi...,ij->oj...", weight, inputs) + added)


def _ordered(leaves: Leaves) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """B's factors (out, rank) and (rank, in, ...), A's (in, rank) and (rank, in)."""
    is_old = leaves["b1"].shape[0] < leaves["b1"].shape[1]
    one, two = "21" if is_old else "12"
    return leaves[f"b{one}"], leaves[f"b{two}"], leaves[f"a{one}"], leaves[f"a{two}"]


class ButterflyForm(Form):
    """BOFT (Liu et al. 2023, arXiv 2311.06243): W' is W with its outputs rotated in several stages, of blocks B
    (stages, blocks, size, size), each over outputs that lie further apart. alpha and rescale are as OFT's.

    At a strength other than 1 Limner takes a share of the whole change, LyCORIS a share of each stage.
    """

    name = "boft"
    is_written = False
    leaves: ClassVar[Mapping[str, str]] = {"oft_blocks": "oft_blocks", "rescale": "rescale", "alpha": "alpha"} | BIAS
    marks = ("oft_blocks",)
    needs = ("oft_blocks",)

    @classmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        blocks, rescale = leaves["oft_blocks"], leaves.get("rescale")
        if blocks.dim() != 4 or blocks.shape[2] != blocks.shape[3] or blocks.shape[2] % 2 or not is_number(leaves):
            return False
        stages, count, size, _ = blocks.shape
        outputs = count * size
        if outputs % (2**stages * size // 2) or (rescale is not None and rescale.numel() != outputs):
            return False
        return shape is None or outputs == shape[0]

    @classmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        blocks = leaves["oft_blocks"]
        size = blocks.shape[2]
        skew = blocks - blocks.transpose(2, 3)
        longest = float(leaves["alpha"]) * len(weight) if "alpha" in leaves else 0.0
        if longest > 0:
            skew = skew * (longest / (torch.linalg.vector_norm(skew) + SMALL)).clamp(max=1)
        eye = torch.eye(size, dtype=skew.dtype, device=skew.device)
        turns = (eye + skew) @ torch.linalg.inv(eye - skew)
        turned = weight.flatten(1)
        for stage, turn in enumerate(turns):
            apart = 2**stage * size // 2  # so far from each other lie the outputs that come together
            mixed = turned.view(-1, 2, apart, turned.shape[1]).transpose(1, 2).reshape(len(turn), size, -1)
            turned = (turn @ mixed).view(-1, apart, 2, turned.shape[1]).transpose(1, 2).reshape(turned.shape)
        if "rescale" in leaves:
            turned = turned * leaves["rescale"].view(-1, 1)
        return turned.view(weight.shape) - weight


class InputRotationForm(Form):
    """PEFT's OFT, which rotates groups of inputs: W' = W (I + D)^T of blocks D (blocks, size, size). A single block
    that is smaller than the inputs is that of every group."""

    name = "oft of inputs"
    is_written = False
    leaves: ClassVar[Mapping[str, str]] = {"oft_inputs": "oft_inputs"} | BIAS
    marks = ("oft_inputs",)
    needs = ("oft_inputs",)

    @classmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        blocks = leaves["oft_inputs"]
        if blocks.dim() != 3 or blocks.shape[1] != blocks.shape[2]:
            return False
        if shape is None:
            return True
        inputs = torch.Size(shape[1:]).numel()
        return blocks.shape[0] * blocks.shape[1] == inputs or (len(blocks) == 1 and inputs % blocks.shape[1] == 0)

    @classmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        blocks = leaves["oft_inputs"]
        grouped = weight.flatten(1).view(len(weight), -1, blocks.shape[1])
        return torch.einsum("ogj,gij->ogi", grouped, blocks.expand(grouped.shape[1], -1, -1)).reshape(weight.shape)


FORMS: tuple[type[Form], ...] = (DifferenceForm, NormForm, GeneralForm, ButterflyForm, InputRotationForm)
