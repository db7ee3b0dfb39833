"""Group normalisation in half precision is torch's own, at every shape, with its gradients and names."""

import pytest
import torch
from torch import Tensor, nn

from limner.base.norm import MANY, GroupNormByShape, use_by_shape

NARROW, WIDE, LARGE = (2, 64, 8, 8), (2, 512, 4, 4), (1, 64, 32, 32)


def outputs_and_gradients(norm: nn.Module, inputs: Tensor, grad: Tensor) -> list[Tensor]:
    """Of the inputs, the weight and the bias, in float32."""
    inputs = inputs.clone().requires_grad_()
    outputs = norm(inputs)
    outputs.backward(grad)
    return [each.float() for each in (outputs, inputs.grad, norm.weight.grad, norm.bias.grad)]  # type: ignore[union-attr]


@pytest.mark.parametrize("shape", [NARROW, WIDE, LARGE])
@pytest.mark.parametrize("offset", [0.0, 4.0])
def test_as_torch_computes_it(shape: tuple[int, ...], offset: float) -> None:
    torch.manual_seed(0)
    exact = nn.GroupNorm(32, shape[1])
    nn.init.normal_(exact.weight)
    nn.init.normal_(exact.bias)
    network = nn.Sequential(nn.GroupNorm(32, shape[1])).bfloat16()
    network[0].load_state_dict(exact.state_dict())
    exact.load_state_dict(network[0].state_dict())  # what half precision leaves of them
    use_by_shape(network)
    assert isinstance(network[0], GroupNormByShape)
    assert list(network.state_dict()) == ["0.weight", "0.bias"]
    inputs, grad = (torch.randn(shape).add(extra).bfloat16() for extra in (offset, 0.0))
    inputs, grad = (each.contiguous(memory_format=torch.channels_last) for each in (inputs, grad))
    expected = outputs_and_gradients(exact, inputs.float(), grad.float())
    for found, wanted in zip(outputs_and_gradients(network[0], inputs, grad), expected, strict=True):
        assert (found - wanted).abs().max() < 0.02 * wanted.abs().max()
        assert (found - wanted).square().mean() < 1e-4 * wanted.square().mean()


def test_layouts_and_frozen_weights() -> None:
    torch.manual_seed(0)
    norm = nn.Sequential(nn.GroupNorm(8, 32)).bfloat16()
    use_by_shape(norm)
    norm.requires_grad_(False)
    inputs = torch.randn(2, 32, 6, 6).bfloat16()
    assert inputs[0, 0].numel() < MANY
    rows = [each.clone().requires_grad_() for each in (inputs, inputs.contiguous(memory_format=torch.channels_last))]
    results = [norm(each) for each in rows]
    for result in results:
        result.float().square().sum().backward()
    assert torch.equal(*results)
    assert torch.equal(rows[0].grad, rows[1].grad)  # type: ignore[arg-type]
    assert torch.equal(norm(inputs.flatten(2)), results[0].flatten(2))
    assert norm[0].weight.grad is None


def test_single_precision_is_torchs_own() -> None:
    inputs = torch.randn(2, 32, 6, 6)
    mine = nn.Sequential(nn.GroupNorm(8, 32))
    use_by_shape(mine)
    assert torch.equal(mine(inputs), nn.GroupNorm(8, 32)(inputs))
