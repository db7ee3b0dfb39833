"""Group normalisation on CPUs in half precision, where torch's own kernels are slow for narrow groups."""

from typing import Any

import torch
from torch import Tensor, nn

# Where torch's kernel for channels_last leaves the processor's vectors unused: with fewer channels in a group than WIDE
# and fewer positions than MANY. It takes up to ten times as long there as what stands here (bench/norm.py).
WIDE, MANY = 16, 1024


class GroupNormByShape(nn.GroupNorm):
    """nn.GroupNorm, which computes narrow groups of half precision in other steps."""

    def forward(self, inputs: Tensor) -> Tensor:
        is_half = inputs.dtype in (torch.bfloat16, torch.float16) and inputs.device.type == "cpu"
        if is_half and self.num_channels // self.num_groups < WIDE and inputs[0, 0].numel() < MANY:
            return NarrowGroupNorm.apply(inputs, self.weight, self.bias, self.num_groups, self.eps)
        return super().forward(inputs)


def use_by_shape(network: nn.Module) -> None:
    """Let every plain group normalisation of a network be one by shape; weights and their names stay."""
    for module in network.modules():
        if type(module) is nn.GroupNorm and module.affine:
            module.__class__ = GroupNormByShape


class NarrowGroupNorm(torch.autograd.Function):
    """y = scale x + shift, with a scale and a shift for each channel of each example, over rows of channels."""

    @staticmethod
    def forward(ctx: Any, inputs, weight, bias, groups, eps):  # type: ignore[no-untyped-def]
        x = _rows(inputs)
        wide = x.float()
        count = x.shape[1] * x.shape[2] // groups
        mean = wide.sum(1).unflatten(1, (groups, -1)).sum(2, keepdim=True) / count
        square = wide.square_().sum(1).unflatten(1, (groups, -1)).sum(2, keepdim=True) / count
        deviation = (square - mean.square()).clamp_(min=0).add_(eps).rsqrt_()  # its inverse
        scale = deviation * weight.float().view(groups, -1)
        shift = bias.float().view(groups, -1) - mean * scale
        ctx.save_for_backward(inputs, weight, mean, deviation)
        outputs = torch.addcmul(_as_rows(shift, x), x, _as_rows(scale, x))
        return _as_picture(outputs, inputs)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, mean, deviation = ctx.saved_tensors
        groups = mean.shape[1]
        x, dy = _rows(inputs), _rows(grads[0])
        count = x.shape[1] * x.shape[2] // groups
        d_bias = dy.sum(1, dtype=torch.float32).unflatten(1, (groups, -1))
        d_scale = (x.float().mul_(dy)).sum(1).unflatten(1, (groups, -1))
        d_inputs = None
        if ctx.needs_input_grad[0]:
            # with u = (x - mean) deviation: dx = deviation (w dy - mean of w dy - u mean of u w dy) (Wu & He 2018)
            w = weight.float().view(groups, -1)
            constant = (d_bias * w).sum(2, keepdim=True) / count
            slope = ((d_scale * w).sum(2, keepdim=True) / count - mean * constant) * deviation
            of_x = -slope * deviation.square()
            of_one = -constant * deviation - of_x * mean
            d_inputs = torch.addcmul(_as_rows(of_one.expand_as(d_bias), x), dy, _as_rows(deviation * w, x))
            d_inputs = _as_picture(d_inputs.addcmul_(x, _as_rows(of_x.expand_as(d_bias), x)), inputs)
        d_weight = ((d_scale - mean * d_bias) * deviation).sum(0).flatten().to(weight.dtype)
        return d_inputs, d_weight, d_bias.sum(0).flatten().to(weight.dtype), None, None


def _rows(picture: Tensor) -> Tensor:
    """(batch, positions, channels) of (batch, channels, ...): no copy if it is channels_last."""
    return picture.movedim(1, -1).flatten(1, -2)


def _as_rows(values: Tensor, rows: Tensor) -> Tensor:
    """(batch, 1, channels) of (batch, groups, channels of a group), as precise as the rows."""
    return values.flatten(1)[:, None].to(rows.dtype)


def _as_picture(rows: Tensor, picture: Tensor) -> Tensor:
    """Rows in the shape of the picture, channels_last."""
    return rows.view(picture.shape[0], *picture.shape[2:], picture.shape[1]).movedim(-1, 1)
