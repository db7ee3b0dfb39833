"""LoRA (Hu et al. 2021, arXiv 2106.09685): the change of a weight is a product of two thin matrices.

W' = W + alpha / rank * up @ down, with `down` (rank, in[, k, k]) and `up` (out, rank[, 1, 1]).
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional

from limner.base.model import BaseModel
from limner.config import Settings
from limner.device import generator
from limner.errors import UserError
from limner.methods import applied
from limner.methods.applied import apply
from limner.methods.method import Method, ParamGroup
from limner.weights import Weights

__all__ = ["LoRA", "LoRAConfig", "apply"]

Layers = Literal["attention", "attention+mlp", "all"]

# As Civitai's trainer has it: 5e-5 against 5e-4. A text encoder forgets sooner than it helps.
TEXT_LR_SCALE = 0.1


class LoRAConfig(Settings):
    """What a LoRA is made of."""

    rank: int = Field(16, ge=1, le=1024, description="Width of the two matrices; 8 to 16 are enough for one subject.")
    alpha: float = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="The change is scaled by alpha / rank; at 1 a learning rate suits any rank.",
    )
    layers: Layers = Field(
        "attention+mlp",
        description="Layers of the UNet: attention, attention+mlp, or all, which adds the convolutions.",
    )
    text_encoder: bool = Field(False, description="Train the text encoder too.")


class LoRA(Method):
    """Low-rank changes of linear and convolution layers, in float32 over a frozen base of any precision."""

    Config = LoRAConfig
    kind = "lora"
    apply = staticmethod(apply)

    def __init__(self, config: LoRAConfig) -> None:
        self.config = config
        self.adapters: dict[str, Adapter] = {}
        self._family = ""

    @property
    def trains_text(self) -> bool:
        return self.config.text_encoder

    def attach(self, model: BaseModel, seed: int = 0) -> list[ParamGroup]:
        self._family = model.family.name
        chosen = dict(targets(model, self.config.layers, self.config.text_encoder))
        if any("forward" in module.__dict__ for module in chosen.values()):
            raise UserError("two methods would train the same layers; use one of them")
        random = generator(seed)
        self.adapters = {
            name: Adapter(module, self.config.rank, self.config.alpha / self.config.rank, random)
            for name, module in chosen.items()
        }
        groups = []
        for network, lr_scale in (("unet", 1.0), ("text_encoder", TEXT_LR_SCALE)):
            own = [adapter for name, adapter in self.adapters.items() if name.startswith(f"{network}.")]
            if own:
                groups.append(ParamGroup(network, [p for a in own for p in (a.down, a.up)], lr_scale))
        return groups

    def refresh(self, strength: float = 1.0) -> None:
        """Have the model compute, and gradients be taken, with `strength` times the change."""
        for adapter in self.adapters.values():
            adapter.refresh(strength)

    def detach(self) -> None:
        for adapter in self.adapters.values():
            adapter.detach()

    def weights(self) -> Weights:
        tensors = {name: tensor.detach().cpu().clone() for name, tensor in self.state().items()}
        tensors |= {f"{name}.alpha": torch.tensor(self.config.alpha) for name in self.adapters}
        return Weights("lora", self._family, dict(sorted(tensors.items())))

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}.{leaf}": parameter
            for name, adapter in self.adapters.items()
            for leaf, parameter in (("lora_down", adapter.down), ("lora_up", adapter.up))
        }

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        own = self.state()
        if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in tensors.items()}:
            raise UserError("the saved LoRA has another rank or other layers than these settings; start a new run")
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        self.refresh()


def targets(model: BaseModel, layers: Layers, text_encoder: bool) -> Iterator[tuple[str, nn.Module]]:
    """(neutral name, module) of every layer to adapt.

    "attention": q, k, v, out of all attentions; "attention+mlp" adds the feed-forward layers and proj_in, proj_out, so
    that it is every linear and 1x1 convolution inside the transformers, as sd-scripts trains; "all" adds the
    convolutions and embeddings' linear layers of the residual blocks and samplers. Of the text encoder always q, k, v,
    out, fc1 and fc2: readers refuse files with a part of them.
    """
    unet = model.networks["unet"]
    for path, module in unet.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and _is_chosen(path, layers):
            yield f"unet.{path}", module
    if text_encoder:
        root = applied.network_root(model, "text_encoder")
        assert root is not None
        for path, module in root.named_modules():
            if isinstance(module, nn.Linear) and path.startswith("encoder.layers."):
                yield f"text_encoder.{path}", module


def _is_chosen(path: str, layers: Layers) -> bool:
    parts = path.split(".")
    if "attentions" in parts:
        return layers != "attention" or "attn1" in parts or "attn2" in parts
    return layers == "all" and any(part in parts for part in ("resnets", "downsamplers", "upsamplers"))


class Adapter:
    """The change of one layer, and the patch that trains it.

    While attached the layer's own weight is W', written once per optimizer step: whatever runs the model without
    gradients runs it as it always did, and only a training pass goes through `LowRank`.
    """

    def __init__(self, layer: nn.Module, rank: int, scale: float, random: torch.Generator) -> None:
        weight = applied.weight_of(layer)
        bound = 1 / math.sqrt(weight[0].numel())  # sd-scripts' initial values: Kaiming's uniform with a = sqrt(5)
        down = torch.empty(rank, *weight.shape[1:]).uniform_(-bound, bound, generator=random)
        up = torch.zeros(weight.shape[0], rank, *[1] * (weight.dim() - 2))
        self.layer = layer
        self.scale = scale
        self.down = nn.Parameter(down.to(weight.device))
        self.up = nn.Parameter(up.to(weight.device))
        self._original = weight.clone()
        self._plain_forward = layer.forward
        self.refresh()
        layer.forward = self.forward

    @torch.no_grad()
    def refresh(self, strength: float = 1.0) -> None:
        self._scale = strength * self.scale
        applied.write_sum(applied.weight_of(self.layer), self._original, [(self.down, self.up, self._scale)])
        self._down = self.down.to(self._original.dtype)
        self._up = (self.up * self._scale).to(self._original.dtype)

    @torch.no_grad()
    def detach(self) -> None:
        self.layer.__dict__.pop("forward", None)
        applied.weight_of(self.layer).copy_(self._original)

    def forward(self, inputs: Tensor) -> Tensor:
        if not torch.is_grad_enabled():
            return self._plain_forward(inputs)
        return LowRank.apply(inputs, self.down, self.up, self._down, self._up, self._scale, self.layer)


class LowRank(torch.autograd.Function):
    """A layer with weight W' = W + scale * up @ down, whose gradient goes to `up` and `down` without forming dW'.

    With y = W' x: d_up = scale * dy (down x)^T and d_down = scale * (up^T dy) x^T. The products are taken in the
    layer's precision, of rounded copies `low` of down and `high` of scale * up; the gradients are float32.
    """

    @staticmethod
    def forward(ctx: Any, inputs, down, up, low, high, scale, layer):  # type: ignore[no-untyped-def]
        ctx.save_for_backward(inputs, layer.weight, low, high)
        ctx.scale, ctx.layer = scale, layer
        if isinstance(layer, nn.Linear):
            return functional.linear(inputs, layer.weight, layer.bias)
        return functional.conv2d(inputs, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        is_matrix = isinstance(ctx.layer, nn.Linear) or set(ctx.layer.kernel_size + ctx.layer.stride) == {1}
        backward = _linear_backward if is_matrix else _conv_backward
        d_inputs, d_down, d_up = backward(ctx, grad, *ctx.saved_tensors)
        return d_inputs, d_down.float(), d_up.float() * ctx.scale, None, None, None, None


def _linear_backward(
    ctx: Any, grad: Tensor, inputs: Tensor, weight: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Gradients of a linear layer or a 1x1 convolution, over rows (tokens or pixels, channels)."""
    x, dy = _rows(inputs), _rows(grad)
    d_x = dy @ weight.flatten(1) if ctx.needs_input_grad[0] else None
    d_up = dy.t() @ (x @ low.flatten(1).t())
    d_down = (dy @ high.flatten(1)).t() @ x
    if d_x is not None and inputs.dim() == 4:
        batch, _, height, width = inputs.shape
        d_x = d_x.view(batch, height, width, -1).permute(0, 3, 1, 2)
    elif d_x is not None:
        d_x = d_x.view(inputs.shape)
    return d_x, d_down.view(low.shape), d_up.view(high.shape)


def _rows(x: Tensor) -> Tensor:
    """(rows, channels) of (..., channels), or of a picture (batch, channels, h, w): no copy if it is channels_last."""
    return (x.permute(0, 2, 3, 1) if x.dim() == 4 else x).reshape(-1, x.shape[1] if x.dim() == 4 else x.shape[-1])


def _conv_backward(
    ctx: Any, grad: Tensor, inputs: Tensor, weight: Tensor, low: Tensor, high: Tensor
) -> tuple[Tensor | None, Tensor, Tensor]:
    """Gradients of a convolution of any kernel: `low` is a convolution to `rank` channels, `high` a 1x1 one."""
    layer = ctx.layer
    place = (layer.stride, layer.padding, layer.dilation)

    def back(d_out: Tensor, kernel: Tensor, wanted: list[bool]) -> tuple[Tensor, ...]:
        return torch.ops.aten.convolution_backward(d_out, inputs, kernel, None, *place, False, [0, 0], 1, wanted)

    d_inputs = back(grad, weight, [True, False, False])[0] if ctx.needs_input_grad[0] else None
    narrow = functional.conv2d(inputs, low, None, *place)
    d_up = _rows(grad).t() @ _rows(narrow)
    d_narrow = functional.conv2d(grad, high.transpose(0, 1))
    return d_inputs, back(d_narrow, low, [False, True, False])[1], d_up.view(high.shape)
