"""One layer that learns: W' = f(W, theta) stands in the layer itself, written once per optimizer step.

Whatever runs the model without gradients runs it as it always did; only a training pass goes through a patch, whose
forward pass is the plain layer's, and whose backward pass brings the gradient to theta.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from limner.methods import applied
from limner.methods.form import Form, Part, Seen


class Adapter:
    """A layer's theta, float32: the leaves that are learned, and those that are settings (`alpha`, say)."""

    def __init__(
        self, form: type[Form], layer: nn.Module, learned: Mapping[str, Tensor], settings: Mapping[str, Tensor]
    ) -> None:
        weight = applied.weight_of(layer)
        self.form = form
        self.layer = layer
        self.learned = {leaf: nn.Parameter(tensor.to(weight.device)) for leaf, tensor in learned.items()}
        self.settings = dict(settings)
        self.strength = 1.0
        self.original = weight.clone()
        self.plain_forward = layer.forward
        self.refresh()
        layer.forward = self.forward

    def parts(self) -> list[Part]:
        """What W' is made of beside W."""
        return [Part(self.form, self.leaves(), self.strength)]

    def leaves(self) -> dict[str, Tensor]:
        """What a file holds of the layer; references."""
        return {**self.learned, **self.settings}

    @torch.no_grad()
    def refresh(self, strength: float = 1.0) -> None:
        """Bring the layer up to date, with `strength` times the change."""
        self.strength = strength
        applied.write_sum(applied.weight_of(self.layer), self.original, self.parts())

    @torch.no_grad()
    def detach(self) -> None:
        """Give the layer back as it was."""
        self.layer.__dict__.pop("forward", None)
        applied.weight_of(self.layer).copy_(self.original)

    def forward(self, inputs: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return self.plain_forward(inputs)
        return self.train(inputs)

    def train(self, inputs: Tensor) -> Tensor:
        """The layer's output, with a gradient for the inputs and theta."""
        return Merged.apply(inputs, self, *self.learned.values())

    def shorter(
        self, inputs: Tensor, outputs: Tensor, d_inputs: Tensor | None, d_outputs: Tensor
    ) -> tuple[Tensor, ...] | None:
        """Gradients of the learned leaves, if the form has a way that does not form that of W'."""
        precise = torch.float64 if self.original.dtype == torch.float64 else torch.float32
        bias = self.layer.bias
        seen = Seen(
            tuple(self.learned),
            self.original.to(precise),
            None if bias is None else bias.detach().to(precise),  # type: ignore[operator]
            self.strength,
            rows(inputs),
            rows(outputs),
            None if d_inputs is None else rows(d_inputs),
            rows(d_outputs),
            is_matrix(self.layer),
        )
        return self.form.gradients(seen, {leaf: tensor.detach().to(precise) for leaf, tensor in self.leaves().items()})

    def pull(self, d_weight: Tensor) -> tuple[Tensor, ...]:
        """Gradients of the learned leaves, in their order, from that of W' (shaped like it, float32)."""
        with torch.enable_grad():
            exact = {leaf: tensor.detach().to(d_weight.dtype) for leaf, tensor in self.learned.items()}
            leaves = {leaf: tensor.requires_grad_() for leaf, tensor in exact.items()}
            change = self.form.change(self.original.to(d_weight.dtype), {**leaves, **self.settings})
            return torch.autograd.grad(change, list(leaves.values()), self.strength * d_weight)


class Merged(torch.autograd.Function):
    """A layer with weight W'. Unless the form has a shorter way, the gradient of W' is formed, in the layer's
    precision, and pulled through f: once for a layer, whatever the number of positions."""

    @staticmethod
    def forward(ctx: Any, inputs, adapter, *learned):  # type: ignore[no-untyped-def]
        ctx.adapter = adapter
        outputs = run(adapter.layer, inputs)
        ctx.save_for_backward(inputs, adapter.layer.weight, outputs)
        return outputs

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight, outputs = ctx.saved_tensors
        adapter, grad = ctx.adapter, grads[0]
        d_inputs = input_gradient(adapter.layer, grad, inputs, weight) if ctx.needs_input_grad[0] else None
        shorter = adapter.shorter(inputs, outputs, d_inputs, grad)
        if shorter is not None:
            return d_inputs, None, *shorter
        d_weight = weight_gradient(adapter.layer, grad, inputs, weight)
        precise = d_weight if d_weight.dtype == torch.float64 else d_weight.float()
        return d_inputs, None, *adapter.pull(precise)


def run(layer: nn.Module, inputs: Tensor) -> Tensor:
    """What the layer does, without a patch that may lie on it."""
    if isinstance(layer, nn.Linear):
        return functional.linear(inputs, layer.weight, layer.bias)
    assert isinstance(layer, nn.Conv2d)
    return functional.conv2d(inputs, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation)


def input_gradient(layer: nn.Module, grad: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    if is_matrix(layer):
        return matrix_d_inputs(grad, inputs, weight)
    return convolution_backward(layer, grad, inputs, weight, [True, False, False])[0]


def weight_gradient(layer: nn.Module, grad: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    if is_matrix(layer):
        return (rows(grad).t() @ rows(inputs)).view(weight.shape)
    return convolution_backward(layer, grad, inputs, weight, [False, True, False])[1]


def is_matrix(layer: nn.Module) -> bool:
    """Whether a layer is one matrix product: linear, or a 1x1 convolution."""
    return isinstance(layer, nn.Linear) or set(layer.kernel_size + layer.stride) == {1}  # type: ignore[operator]


def rows(x: Tensor) -> Tensor:
    """(rows, channels) of (..., channels), or of a picture (batch, channels, h, w): no copy if it is channels_last."""
    return (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).reshape(-1, x.shape[1] if x.dim() == 4 else x.shape[-1])


def matrix_d_inputs(grad: Tensor, inputs: Tensor, weight: Tensor) -> Tensor:
    """Gradient of the inputs of a matrix product."""
    return like_inputs(rows(grad) @ weight.flatten(1), inputs)


def like_inputs(flat: Tensor, inputs: Tensor) -> Tensor:
    """Rows (rows, channels) in the shape of the inputs from which they come."""
    if inputs.dim() == 4:
        batch, _, height, width = inputs.shape
        return flat.view(batch, height, width, -1).permute(0, 3, 1, 2)
    return flat.view(inputs.shape)


def convolution_backward(
    layer: Any, grad: Tensor, inputs: Tensor, kernel: Tensor, wanted: list[bool]
) -> tuple[Tensor, ...]:
    """Gradients of inputs, kernel and bias, as wanted, of a convolution placed as the layer's."""
    place = (layer.stride, layer.padding, layer.dilation)
    return torch.ops.aten.convolution_backward(grad, inputs, kernel, None, *place, False, [0, 0], 1, wanted)
