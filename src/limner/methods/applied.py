"""Changes of a model's weights: added in float32, rounded once, and taken out again bit for bit."""

import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from limner.base.model import BaseModel, text_core
from limner.errors import UserError
from limner.methods.form import Leaves, Part, Shape, form_of
from limner.weights import Weights

_NOTE = "_limner_applied"  # where a module keeps its own weight while others are added to it
_DROPPED_BITS = {torch.bfloat16: 16, torch.float16: 13}  # of float32's fraction
_numbers = itertools.count()


@dataclass
class _Applied:
    """A module's own weight and bias, and what is added to them, by the number of the application."""

    original: Tensor
    bias: Tensor | None
    parts: dict[int, Part] = field(default_factory=dict)


def apply(
    model: BaseModel, weights: Weights, unet_strength: float = 1.0, text_strength: float = 1.0
) -> Callable[[], None]:
    """Add a LoRA, or another of its family, to a model's weights; returns the function that takes it out again.

    A strength multiplies the change W' - W. Several applied at once add up before the rounding. They may be taken out
    in any order, and after the last the weights are what they were, bit for bit. Where a strength is 0 nothing is
    touched. Raises UserError, with the model untouched, if a module or a shape does not fit the base.
    """
    found = [(find_module(model, name), leaves, name) for name, leaves in weights.modules().items()]
    _check(model, weights, found)
    number = next(_numbers)
    touched: list[nn.Module] = []
    for module, leaves, name in found:
        strength = text_strength if name.startswith("text_encoder") else unet_strength
        form = form_of(leaves)
        if strength == 0 or module is None or form is None:
            continue
        if not hasattr(module, _NOTE):
            bias = getattr(module, "bias", None)
            setattr(module, _NOTE, _Applied(weight_of(module).clone(), None if bias is None else bias.detach().clone()))
        getattr(module, _NOTE).parts[number] = Part(form, leaves, strength)
        touched.append(module)
        _update(module)

    def undo() -> None:
        for module in touched:
            getattr(module, _NOTE).parts.pop(number)
            _update(module)
        touched.clear()

    return undo


@torch.no_grad()
def write_sum(weight: Tensor, original: Tensor, parts: Iterable[Part]) -> None:
    """Set `weight` to `original` plus the parts, summed in float32.

    Rounded to nearest, a change below half a unit in the last place would vanish, and in bfloat16 (a unit is 0.4-0.8%
    of the weight) most of what a run's first steps learn is that small. So the rounding is dithered, with noise that
    is the same for ever: the change arrives in the mean over a row, without it the result is `original` exactly, and
    the weight is a pure function of the parts. Measured on a pocket-sized UNet, 20 steps at a learning rate of 1e-4,
    loss gained: float32 0.0036, dithered bfloat16 0.0039, an unmerged bfloat16 branch 0.0014 (its sum with the
    layer's output rounds too), merged to nearest 0.0008.
    """
    exact = original.float().contiguous()  # sums over rows in one order, whatever the weight's memory format
    total = exact.reshape(len(exact), -1)
    for part in parts:
        total = part.add_to(total, exact)
    write_rounded(weight, total)


@torch.no_grad()
def bias_sum(bias: Tensor, parts: Iterable[Part]) -> Tensor:
    """A layer's bias with what the parts add to it, which of most forms is nothing: float32."""
    total = bias.float()
    for part in parts:
        leaves = {leaf: tensor.to(total.device, torch.float32) for leaf, tensor in part.leaves.items()}
        added = part.form.bias_change(total, leaves)
        total = total if added is None else total.add(added, alpha=part.strength)
    return total


@torch.no_grad()
def write_rounded(weight: Tensor, total: Tensor) -> None:
    """Set `weight` to float32 numbers `total` of as many elements, which are lost; dithered as `write_sum` says."""
    if weight.dtype in _DROPPED_BITS:
        total = total.contiguous()
        bits = total.view(torch.int32)
        dropped = _DROPPED_BITS[weight.dtype]
        size = 1 << (bits.numel() - 1).bit_length()
        bits += _dither(size, dropped, bits.device)[: bits.numel()].view(bits.shape)
        bits &= -1 << dropped
    weight.copy_(total.reshape(weight.shape))


class _Dither:
    """Fixed random integers (size,) of so many bits. Those that were asked for last are kept, as a training asks for
    the same few sizes at every step, up to `budget` bytes on all devices together."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.kept: dict[tuple[int, int, torch.device], Tensor] = {}
        self._lock = threading.Lock()

    def __call__(self, size: int, bits: int, device: torch.device) -> Tensor:
        key = (size, bits, device)
        with self._lock:
            found = self.kept.pop(key, None)
            if found is None:
                generator = torch.Generator("cpu").manual_seed(size)
                found = torch.randint(0, 1 << bits, (size,), dtype=torch.int32, generator=generator).to(device)
            self.kept[key] = found
            while sum(tensor.nbytes for tensor in self.kept.values()) > self.budget:
                self.kept.pop(next(iter(self.kept)))
        return found


_dither = _Dither(1 << 28)  # twice what all layers of XL need


def find_module(model: BaseModel, name: str) -> nn.Module | None:
    """The module of a neutral name, "<network>.<module path>", or None."""
    network, _, path = name.partition(".")
    for root in (network_root(model, network), model.networks.get(network)):  # a projection lies beside the core
        try:
            if root is not None and path:
                return root.get_submodule(path)
        except AttributeError:
            continue
    return None


def network_root(model: BaseModel, network: str) -> nn.Module | None:
    """The module in which a neutral name's path starts, or None for a network that the base does not have."""
    root = model.networks.get(network)
    return text_core(root) if root is not None and network.startswith("text_encoder") else root


def in_use(root: nn.Module) -> bool:
    """Whether something is applied to a layer of a network."""
    return any(hasattr(module, _NOTE) for module in root.modules())


def weight_of(module: nn.Module) -> Tensor:
    """A layer's weight, to read or to write in place."""
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight.detach()


def _update(module: nn.Module) -> None:
    """Write a module's weight anew; when no part is left, forget that there were some."""
    note: _Applied = getattr(module, _NOTE)
    if note.parts:
        write_sum(weight_of(module), note.original, note.parts.values())
        if note.bias is not None:
            with torch.no_grad():
                module.bias.copy_(bias_sum(note.bias, note.parts.values()))  # type: ignore[operator]
        return
    with torch.no_grad():
        weight_of(module).copy_(note.original)
        if note.bias is not None:
            module.bias.copy_(note.bias)  # type: ignore[operator]
    delattr(module, _NOTE)


def _check(model: BaseModel, weights: Weights, found: list[tuple[nn.Module | None, dict[str, Tensor], str]]) -> None:
    """Raise UserError unless every module of the weights is one of the model's, with its shape."""
    title = weights.metadata.get("ss_output_name")
    lora = f"the LoRA {title!r}" if title else "the LoRA"
    if weights.kind != "lora":
        raise UserError(f"the file holds {weights.kind} weights, not a LoRA; use it as what it is")
    if weights.family != model.family.name:
        raise UserError(f"{lora} is for {weights.family}, but {model.name} is {model.family.name}; use another base")
    wrong = [name for module, leaves, name in found if module is None or not _fits(module, leaves)]
    if wrong or not found:
        example = f", {wrong[0]} for one" if wrong else ""
        raise UserError(
            f"{lora} does not fit the base {model.name}: {len(wrong)} of its {len(found)} modules are not there or "
            f"have another shape{example}; use the base it was made for"
        )


def _fits(module: nn.Module, leaves: Leaves) -> bool:
    weight, bias = (getattr(module, name, None) for name in ("weight", "bias"))
    return weight is not None and fits(leaves, tuple(weight.shape), None if bias is None else tuple(bias.shape))


def fits(leaves: Leaves, weight: Shape, bias: Shape | None) -> bool:
    """Whether a layer's leaves change a weight of this shape, and its bias only if it has one of the right size."""
    form = form_of(leaves)
    if form is None or len(weight) < form.axes or form.missing(leaves) or leaves.keys() - form.leaves.keys():
        return False
    if not all(tensor.numel() for tensor in leaves.values()) or not form.fits(leaves, weight):
        return False
    changed = form.bias_change(torch.zeros(weight[0]), leaves)
    return changed is None or tuple(changed.shape) == bias
