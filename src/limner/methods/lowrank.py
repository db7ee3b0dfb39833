"""A training pass of a layer with a LoRA, which forms no gradient of the whole weight."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from limner.methods.adapter import convolution_backward, is_matrix, like_inputs, matrix_d_inputs, rows, run


class LowRank(torch.autograd.Function):
    """A layer with weight W' = W + scale * up @ down, whose gradient goes to `up` and `down` without forming dW'.

    With y = W' x: d_up = scale * dy (down x)^T and d_down = scale * (up^T dy) x^T. The products are taken in the
    layer's precision, of rounded copies `low` of down and `high` of scale * up; the gradients are float32. With a mask
    m, y = W' x - high ((1 - m) * (low x)): what an example is not to use is taken out of W' again.
    """

    @staticmethod
    def forward(ctx: Any, inputs, down, up, low, high, scale, layer, mask):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(inputs, layer.weight, low, high)
        ctx.scale, ctx.layer, ctx.mask = scale, layer, mask
        outputs = run(layer, inputs)
        if mask is None:
            return outputs
        if is_matrix(layer):
            x = rows(inputs)
            taken = (x @ low.flatten(1).t()) * (1 - _by_row(mask, x)) @ high.flatten(1).t()
            return outputs - like_inputs(taken, outputs)
        narrow = functional.conv2d(inputs, low, None, layer.stride, layer.padding, layer.dilation)
        return outputs - functional.conv2d(narrow * (1 - mask)[:, :, None, None], high)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        backward = _linear_backward if is_matrix(ctx.layer) else _conv_backward
        d_inputs, d_down, d_up = backward(ctx, grad, *ctx.saved_tensors)
        return d_inputs, d_down.float(), d_up.float() * ctx.scale, None, None, None, None, None


def _linear_backward(
    ctx: Any, grad: Tensor, inputs: Tensor, weight: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Gradients of a linear layer or a 1x1 convolution, over rows (tokens or pixels, channels)."""
    x, dy = rows(inputs), rows(grad)
    d_inputs = matrix_d_inputs(grad, inputs, weight) if ctx.needs_input_grad[0] else None
    narrow, d_narrow = x @ low.flatten(1).t(), dy @ high.flatten(1)
    if ctx.mask is not None:
        mask = _by_row(ctx.mask, x)
        if d_inputs is not None:
            d_inputs = d_inputs - like_inputs(d_narrow * (1 - mask) @ low.flatten(1), inputs)
        narrow, d_narrow = narrow * mask, d_narrow * mask
    d_up = dy.t() @ narrow
    d_down = d_narrow.t() @ x
    return d_inputs, d_down.view(low.shape), d_up.view(high.shape)


def _by_row(mask: Tensor, x: Tensor) -> Tensor:
    """A mask (batch, rank) for each row of x (batch * positions, channels)."""
    return mask.repeat_interleave(x.shape[0] // mask.shape[0], dim=0)


def _conv_backward(
    ctx: Any, grad: Tensor, inputs: Tensor, weight: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Gradients of a convolution of any kernel: `low` is a convolution to `rank` channels, `high` a 1x1 one."""
    layer = ctx.layer
    wanted = [bool(ctx.needs_input_grad[0]), False, False]
    d_inputs = convolution_backward(layer, grad, inputs, weight, wanted)[0] if wanted[0] else None
    narrow = functional.conv2d(inputs, low, None, layer.stride, layer.padding, layer.dilation)
    d_narrow = functional.conv2d(grad, high.transpose(0, 1))
    if ctx.mask is not None:
        mask = ctx.mask[:, :, None, None]
        if d_inputs is not None:
            d_inputs = d_inputs - convolution_backward(layer, d_narrow * (1 - mask), inputs, low, wanted)[0]
        narrow, d_narrow = narrow * mask, d_narrow * mask
    d_up = rows(grad).t() @ rows(narrow)
    return d_inputs, convolution_backward(layer, d_narrow, inputs, low, [False, True, False])[1], d_up.view(high.shape)
