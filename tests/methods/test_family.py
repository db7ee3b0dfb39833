"""The LoRA family: every form's gradient against autograd and its change against LyCORIS's own, and their settings."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from training import run, same, snapshot

from limner.base.model import BaseModel
from limner.device import generator
from limner.errors import UserError
from limner.methods.adapter import Adapter
from limner.methods.applied import weight_of
from limner.methods.form import form_of, forms
from limner.methods.lora import LoRA, LoRAConfig, LowRankAdapter, apply
from limner.methods.method import find_method
from limner.train import Plan
from limner.weights import Weights

LAYERS = {
    "linear": (lambda: nn.Linear(12, 20), (3, 7, 12), "unet.x.to_k"),
    "linear, by input": (lambda: nn.Linear(12, 20, bias=False), (2, 12), "unet.x.net.2"),
    "1x1": (lambda: nn.Conv2d(12, 20, 1), (2, 12, 6, 5), "unet.x.to_k"),
    "3x3": (lambda: nn.Conv2d(12, 20, 3, padding=1), (2, 12, 6, 5), "unet.x.conv1"),
    "3x3, stride 2": (lambda: nn.Conv2d(12, 20, 3, padding=1, stride=2), (2, 12, 8, 6), "unet.x.conv1"),
}


def settle(method: Any, seed: int = 1) -> None:
    """Random values in all that a method learns, and the model brought up to date."""
    random = generator(seed)
    with torch.no_grad():
        for name, tensor in method.state().items():
            if not name.rpartition(".")[2].startswith("start_"):
                tensor.add_(0.1 * torch.randn(tensor.shape, generator=random).to(tensor.dtype))
    method.refresh()


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("name", ["dora", "ia3", "loha", "lokr", "lora", "oft"])
@pytest.mark.parametrize("strength", [1.0, -0.5])
def test_gradients_are_those_of_autograd_through_f(kind: str, name: str, strength: float) -> None:
    make, shape, place = LAYERS[kind]
    torch.manual_seed(0)
    layer = make().double().requires_grad_(False)
    method = find_method(name)(find_method(name).Config.read({} if name in ("ia3", "oft") else {"rank": 3}, "test"))
    adapter = method.adapter(place, layer, generator(0))
    with torch.no_grad():
        for parameter in adapter.learned.values():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    adapter.refresh(strength)
    x = torch.randn(shape, dtype=torch.float64)
    if x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    out = layer(x)
    seed = torch.randn_like(out)
    learned = list(adapter.learned.values())
    found = torch.autograd.grad(out, [x, *learned], seed)

    adapter.detach()
    exact = {leaf: tensor.double() for leaf, tensor in adapter.leaves().items()}
    weight = weight_of(layer) + strength * adapter.form.change(weight_of(layer), exact)
    plain = torch.func.functional_call(layer, {"weight": weight}, (x,))
    expected = torch.autograd.grad(plain, [x, *learned], seed)
    torch.testing.assert_close(out, plain, rtol=1e-5, atol=1e-5)  # W' is summed in float32
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.to(one.dtype), rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize("name", ["dora", "ia3", "oft"])
@pytest.mark.parametrize("kind", ["linear", "1x1"])
def test_some_gradients_are_found_without_that_of_the_weight(
    name: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, shape, place = LAYERS[kind]
    layer = make().requires_grad_(False)
    method = find_method(name)(find_method(name).Config())
    method.adapter(place, layer, generator(0))
    monkeypatch.setattr("limner.methods.adapter.weight_gradient", None)  # whoever asks for it fails
    layer(torch.randn(shape, requires_grad=True)).sum().backward()


ALGORITHMS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "lora": ("locon", "LoConModule", {}),
    "lora, core": ("locon", "LoConModule", {"use_tucker": True}),
    "dora": ("locon", "LoConModule", {"weight_decompose": True}),
    "dora by column": ("locon", "LoConModule", {"weight_decompose": True, "wd_on_out": False}),
    "loha": ("loha", "LohaModule", {}),
    "loha, cores": ("loha", "LohaModule", {"use_tucker": True}),
    "loha with lengths": ("loha", "LohaModule", {"weight_decompose": True}),
    "lokr": ("lokr", "LokrModule", {"factor": 4}),
    "lokr, whole": ("lokr", "LokrModule", {"full_matrix": True}),
    "lokr, core": ("lokr", "LokrModule", {"use_tucker": True, "factor": 2}),
    "lokr, both halved": ("lokr", "LokrModule", {"decompose_both": True, "factor": 8}),
    "lokr with lengths": ("lokr", "LokrModule", {"weight_decompose": True}),
    "oft": ("diag_oft", "DiagOFTModule", {}),
    "oft, bounded": ("diag_oft", "DiagOFTModule", {"constraint": 1e-3}),
    "oft, rescaled": ("diag_oft", "DiagOFTModule", {"rescaled": True}),
    "ia3": ("ia3", "IA3Module", {}),
    "ia3 by input": ("ia3", "IA3Module", {"train_on_input": True}),
}


@pytest.mark.parametrize("sort", ALGORITHMS)
@pytest.mark.parametrize("kernel", [0, 1, 3])
def test_a_change_is_that_of_lycoris(sort: str, kernel: int) -> None:
    """Its modules are run, not asked for their change: that of LoHa and LoKr counts the scale twice there."""
    import importlib

    file, name, options = ALGORITHMS[sort]
    torch.manual_seed(0)
    layer: Any = nn.Linear(24, 32) if kernel == 0 else nn.Conv2d(24, 32, kernel, padding=kernel // 2)
    module = getattr(importlib.import_module(f"lycoris.modules.{file}"), name)
    theirs = module("x", layer, 1.0, 2, 3.0, **options)
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    spelled = {text: leaf for form in forms().values() for leaf, text in form.leaves.items()}
    leaves = {spelled[key]: tensor.detach() for key, tensor in theirs.state_dict().items()}
    form = form_of(leaves)
    assert form is not None
    assert not form.missing(leaves)
    assert form.fits(leaves, tuple(layer.weight.shape))
    assert not form.fits(leaves, (31, 24, *layer.weight.shape[2:])) or sort == "ia3 by input"
    x = torch.randn(2, 24) if kernel == 0 else torch.randn(2, 24, 5, 5)
    plain = layer(x)
    theirs.apply_to()
    changed = layer(x) - plain
    weight = layer.weight.detach()
    change = form.change(weight, leaves)
    ours = nn.functional.linear(x, change) if kernel == 0 else nn.functional.conv2d(x, change, padding=kernel // 2)
    assert changed.abs().max() > 1e-3
    torch.testing.assert_close(ours, changed, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["dora", "ia3", "loha", "lokr", "oft"])
def test_strength_multiplies_the_change_and_at_zero_the_base_is_untouched(name: str, tiny_base: BaseModel) -> None:
    before = snapshot(tiny_base)
    method = find_method(name)(find_method(name).Config.read({"text_encoder": True}, "test"))
    method.attach(tiny_base)
    settle(method)
    whole = snapshot(tiny_base)
    method.detach()
    assert same(snapshot(tiny_base), before)
    apply(tiny_base, method.weights(), 0.0, 0.0)
    assert same(snapshot(tiny_base), before)
    undo = apply(tiny_base, method.weights(), 0.5, -2.0)
    for key, tensor in snapshot(tiny_base).items():
        strength = -2.0 if key.startswith("text_encoder") else 0.5
        expected = before[key] + strength * (whole[key] - before[key])
        torch.testing.assert_close(tensor, expected, rtol=1e-4, atol=1e-5)
    undo()
    assert same(snapshot(tiny_base), before)
    assert any(key.startswith("text_encoder") and not torch.equal(whole[key], before[key]) for key in whole)


def test_ranks_and_rates_go_by_pattern(tiny_base: BaseModel) -> None:
    settings = {
        "rank": 4,
        "ranks": {"unet.mid_block.*": 0, "unet.up_blocks.*attn2*": 2},
        "rates": {"*.to_q": 0.5},
        "text_encoder": True,
    }
    lora = LoRA(LoRAConfig.read(settings, "test"))
    groups = lora.attach(tiny_base)
    ranks = {name: leaves["lora_down"].shape[0] for name, leaves in lora.weights().modules().items()}
    lora.detach()
    assert not any("mid_block" in name for name in ranks)
    assert {rank for name, rank in ranks.items() if ".up_blocks." in name and "attn2" in name} == {2}
    assert {rank for name, rank in ranks.items() if ".down_blocks." in name} == {4}
    assert {group.lr_scale for group in groups if group.name == "unet"} == {1.0, 0.5}
    count = sum(name.endswith(".to_q") for name in ranks)
    assert sum(len(group.parameters) for group in groups if group.lr_scale == 0.5) == 2 * count
    with pytest.raises(UserError, match=r"'unet\.middle\.\*' means no layer"):
        LoRA(LoRAConfig.read({"ranks": {"unet.middle.*": 2}}, "test")).check(tiny_base)
    with pytest.raises(UserError, match="no layer is left"):
        LoRA(LoRAConfig.read({"ranks": {"*": 0}}, "test")).check(tiny_base)
    for wrong in ({"ranks": {"*": -1}}, {"rates": {"*": 0}}):
        with pytest.raises(UserError, match=next(iter(wrong))):
            LoRAConfig.read(wrong, "test")


@pytest.mark.parametrize(
    "settings",
    [
        {"rank_stabilised": True, "ranks": {"*.to_q": 2}},
        {"initial": "principal", "ranks": {"*.to_q": 2}},
        {"initial": "principal", "rank_stabilised": True, "layers": "all"},
        {"noisy_rank": 0.5, "layers": "all"},
    ],
)
def test_every_program_reads_a_lora_of_any_settings(
    settings: dict[str, Any], tiny_base: BaseModel, tmp_path: Path
) -> None:
    """Also where layers differ in rank and scale, and where the start is to be taken away."""
    from limner.formats import load_weights, save_weights

    lora = LoRA(LoRAConfig.read({"rank": 4, "alpha": 2.0} | settings, "test"))
    before = snapshot(tiny_base)
    lora.attach(tiny_base)
    for key, tensor in snapshot(tiny_base).items():
        torch.testing.assert_close(tensor, before[key], rtol=1e-5, atol=1e-6)  # the start is no change
    settle(lora)
    trained = snapshot(tiny_base)
    lora.detach()
    assert same(snapshot(tiny_base), before)
    saved = save_weights(lora.weights(), tmp_path / "fox.safetensors", model=tiny_base)
    assert all(not report.unmatched and not report.fault for report in saved.reports)
    assert max(report.largest_error for report in saved.reports) < 5e-3
    apply(tiny_base, load_weights(tmp_path / "fox.safetensors"))
    for key, tensor in snapshot(tiny_base).items():
        size = (trained[key] - before[key]).abs().max().item()
        torch.testing.assert_close(tensor, trained[key], rtol=0, atol=2e-3 * size + 1e-6)


def test_a_rank_stabilised_scale_is_told_as_alpha(tiny_base: BaseModel) -> None:
    lora = LoRA(LoRAConfig(rank=16, alpha=3.0, rank_stabilised=True))
    lora.attach(tiny_base)
    lora.detach()
    leaves = next(iter(lora.weights().modules().values()))
    assert float(leaves["alpha"]) == pytest.approx(3.0 * 4)


def test_a_principal_start_holds_the_weights_main_directions(tiny_base: BaseModel) -> None:
    lora = LoRA(LoRAConfig(rank=8, alpha=8.0, initial="principal"))
    lora.attach(tiny_base)
    name = "unet.mid_block.attentions.0.transformer_blocks.0.ff.net.2"
    adapter = lora.adapters[name]
    assert isinstance(adapter, LowRankAdapter)
    product = (adapter.up @ adapter.down).detach()
    lengths = torch.linalg.svdvals(adapter.original)  # no product of that rank comes nearer than what they leave
    assert torch.linalg.vector_norm(adapter.original - product) == pytest.approx(
        float(torch.linalg.vector_norm(lengths[8:])), rel=1e-2
    )
    lora.detach()


def test_the_second_matrix_may_learn_faster(tiny_base: BaseModel) -> None:
    lora = LoRA(LoRAConfig(up_rate=16))
    groups = lora.attach(tiny_base)
    ups = {id(tensor) for name, tensor in lora.state().items() if name.endswith("lora_up")}
    assert {group.lr_scale for group in groups} == {1.0, 16.0}
    assert ups == {id(p) for group in groups if group.lr_scale == 16.0 for p in group.parameters}
    lora.detach()


@pytest.mark.parametrize("kind", ["linear", "3x3", "1x1", "3x3, stride 2"])
def test_masked_directions_neither_act_nor_learn(kind: str) -> None:
    make, shape, _ = LAYERS[kind]
    torch.manual_seed(0)
    layer = make().double().requires_grad_(False)
    lora = LoRA(LoRAConfig(rank=4, alpha=4.0))
    adapter = lora.adapter("unet.x", layer, generator(0))
    assert isinstance(adapter, LowRankAdapter)
    nn.init.normal_(adapter.up)
    adapter.refresh()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    adapter.keep(torch.linspace(0, 1000, shape[0]), 1000, 0.5)
    assert adapter.mask is not None
    assert adapter.mask.sum(1).tolist()[:: shape[0] - 1] == [4, 2]
    out = layer(x)
    seed = torch.randn_like(out)
    found = torch.autograd.grad(out, [x, adapter.down, adapter.up], seed)
    adapter.detach()
    each = []
    for index in range(shape[0]):
        kept = adapter.mask[index].view(-1, 1)
        change = (adapter.up.double().flatten(1) @ (kept * adapter.down.double().flatten(1))).view(layer.weight.shape)
        each.append(torch.func.functional_call(layer, {"weight": layer.weight + change}, (x[index : index + 1],)))
    plain = torch.cat(each)
    expected = torch.autograd.grad(plain, [x, adapter.down, adapter.up], seed)
    torch.testing.assert_close(out, plain, rtol=1e-4, atol=1e-4)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other.to(one.dtype), rtol=1e-4, atol=1e-4)


def test_a_masked_lora_trains_and_leaves_no_hook(tiny_base: BaseModel) -> None:
    plan = Plan(steps=2, learning_rate=1e-2)
    plain = run(tiny_base, plan)[1]
    masked = run(tiny_base, plan, [LoRA(LoRAConfig(rank=4, noisy_rank=0.25))])[1]
    assert plain.keys() == masked.keys()
    assert not same(plain, masked)
    assert not tiny_base.networks["unet"]._forward_pre_hooks
    with pytest.raises(UserError, match="noisy_rank"):
        LoRA(LoRAConfig(initial="principal", noisy_rank=0.5)).check(tiny_base)


def test_a_principal_start_goes_on_as_it_began(tiny_base: BaseModel) -> None:
    """The state brings the start along, which another seed would have found otherwise in its last bits."""
    lora, other = (LoRA(LoRAConfig(rank=2, initial="principal")) for _ in range(2))
    lora.attach(tiny_base)
    settle(lora)
    trained = snapshot(tiny_base)
    lora.detach()
    other.attach(tiny_base, seed=9)
    other.load_state(lora.state())
    assert same(snapshot(tiny_base), trained)
    other.detach()


def test_leaves_that_fit_no_form_are_refused(tiny_base: BaseModel) -> None:
    before = snapshot(tiny_base)
    name = "unet.mid_block.attentions.0.proj_in"
    for leaves in (
        {"oft_blocks": torch.ones(3, 5, 5)},
        {"hada_w1_a": torch.ones(64, 2)},
        {"lokr_w1": torch.ones(8, 8), "lokr_w2": torch.ones(8, 9)},
        {"weight": torch.ones(63), "on_input": torch.tensor(0)},
        {"dora_scale": torch.ones(64, 1, 1, 1)},
        {"diff": torch.ones(63, 64, 1, 1)},
        {"w_norm": torch.ones(64), "b_norm": torch.ones(64)},
        {"learned": torch.ones(64, 64, 1, 1)},
    ):
        with pytest.raises(UserError, match="does not fit"):
            apply(tiny_base, Weights("lora", "sd1", {f"{name}.{leaf}": tensor for leaf, tensor in leaves.items()}))
    assert same(snapshot(tiny_base), before)


def test_an_adapter_is_one_layer_and_gives_it_back() -> None:
    layer = nn.Linear(8, 8).requires_grad_(False)
    before = layer.weight.clone()
    method = find_method("loha")(find_method("loha").Config())
    adapter = method.adapter("unet.x", layer, generator(0))
    assert isinstance(adapter, Adapter)
    nn.init.normal_(adapter.learned["hada_w2_a"])
    adapter.refresh()
    assert not torch.equal(layer.weight, before)
    adapter.detach()
    adapter.detach()
    assert torch.equal(layer.weight, before)
