"""LoRA: gradients against plain autograd, deltas against peft, and a base that is always given back."""

from pathlib import Path

import pytest
import torch
from peft import LoraConfig as PeftConfig
from peft import inject_adapter_in_model
from torch import nn
from training import same, snapshot

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.device import generator
from limner.errors import UserError
from limner.methods import applied
from limner.methods.applied import write_sum
from limner.methods.form import Part
from limner.methods.lora import LoRA, LoRAConfig, LowRankAdapter, LowRankForm, apply, no_change
from limner.weights import Weights


def is_same(model: BaseModel, before: dict[str, torch.Tensor]) -> bool:
    return same(snapshot(model), before)


def random_weights(model: BaseModel, seed: int = 0, size: float = 0.1, **settings: object) -> Weights:
    """A LoRA of random values, as of a long training."""
    lora = LoRA(LoRAConfig.model_validate({"rank": 4, "alpha": 2.0} | settings))
    lora.attach(model, seed)
    random = generator(seed)
    with torch.no_grad():
        for tensor in lora.state().values():
            tensor.normal_(std=size, generator=random)
    lora.detach()
    return lora.weights()


LAYERS = {
    "linear": (lambda: nn.Linear(12, 20), (3, 7, 12)),
    "linear without bias": (lambda: nn.Linear(12, 20, bias=False), (2, 12)),
    "1x1": (lambda: nn.Conv2d(12, 20, 1), (2, 12, 6, 5)),
    "3x3": (lambda: nn.Conv2d(12, 20, 3, padding=1), (2, 12, 6, 5)),
    "3x3, stride 2": (lambda: nn.Conv2d(12, 20, 3, padding=1, stride=2), (2, 12, 8, 6)),
}


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("channels_last", [False, True])
def test_gradients_are_those_of_plain_autograd(kind: str, channels_last: bool) -> None:
    make, shape = LAYERS[kind]
    torch.manual_seed(0)
    layer = make().double().requires_grad_(False)
    down, up = no_change(layer.weight, 4, generator(0))
    adapter = LowRankAdapter(layer, {"lora_down": down, "lora_up": up}, {"alpha": torch.tensor(2.8)})
    nn.init.normal_(adapter.up)
    adapter.refresh()
    x = torch.randn(shape, dtype=torch.float64)
    if channels_last and x.dim() == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    x.requires_grad_()
    out = layer(x)
    seed = torch.randn_like(out)
    found = torch.autograd.grad(out, [x, adapter.down, adapter.up], seed)

    adapter.detach()
    change = 0.7 * (adapter.up.flatten(1) @ adapter.down.flatten(1)).view(layer.weight.shape)
    plain = torch.func.functional_call(layer, {"weight": layer.weight + change}, (x,))
    expected = torch.autograd.grad(plain, [x, adapter.down, adapter.up], seed)
    torch.testing.assert_close(out, plain, rtol=1e-5, atol=1e-5)  # W' is summed in float32
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


def test_the_picture_is_that_of_peft(tiny_base: BaseModel, tiny_folder: Path) -> None:
    weights = random_weights(tiny_base, layers="all")
    apply(tiny_base, weights)
    peft_unet = open_base(tiny_folder, torch.device("cpu"), torch.float32).networks["unet"]
    paths = [name.removeprefix("unet.") for name in weights.modules()]
    inject_adapter_in_model(PeftConfig(r=4, lora_alpha=2, target_modules=paths), peft_unet)
    modules = dict(peft_unet.named_modules())
    with torch.no_grad():
        for name, leaves in weights.modules().items():
            layer = modules[name.removeprefix("unet.")]
            layer.lora_A["default"].weight.copy_(leaves["lora_down"])
            layer.lora_B["default"].weight.copy_(leaves["lora_up"])
        given = torch.randn(2, 4, 8, 8, generator=generator(0)), torch.tensor([10, 900]), torch.ones(2, 77, 32)
        theirs, ours = peft_unet(*given).sample, tiny_base.networks["unet"](*given).sample
        plain = open_base(tiny_folder, torch.device("cpu"), torch.float32).networks["unet"](*given).sample
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert (ours - plain).abs().max() > 1e-2


def test_layers_are_those_that_kohya_trains(tiny_base: BaseModel) -> None:
    def count(**settings: object) -> tuple[int, int]:
        modules = random_weights(tiny_base, **settings).modules()
        unet = sum(name.startswith("unet.") for name in modules)
        return unet, len(modules) - unet

    assert count(layers="attention") == (128, 0)
    assert count() == (192, 0)
    assert count(layers="all") == (192 + 22 + 13 + 50, 0)  # SD 1 has 14 shortcuts: its second level is wider
    assert count(text_encoder=True) == (192, 2 * 6)
    names = random_weights(tiny_base, text_encoder=True).tensors
    assert "text_encoder.encoder.layers.0.self_attn.q_proj.lora_down" in names
    assert names["unet.mid_block.attentions.0.proj_in.lora_down"].shape == (4, 64, 1, 1)
    assert names["unet.mid_block.attentions.0.proj_in.alpha"] == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_applied_weights_come_out_in_any_order_bit_for_bit(tiny_folder: Path, dtype: torch.dtype) -> None:
    model = open_base(tiny_folder, torch.device("cpu"), dtype)
    before = snapshot(model)
    loras = [random_weights(model, seed, text_encoder=True) for seed in range(3)]
    undos = [apply(model, lora, strength, -strength) for lora, strength in zip(loras, (1.0, -0.5, 2.0), strict=True)]
    assert not is_same(model, before)
    undos[1]()
    undos[0]()
    only_last = snapshot(model)
    undos[2]()
    undos[2]()  # once more does nothing
    assert is_same(model, before)
    apply(model, loras[2], 2.0, -2.0)
    assert is_same(model, only_last)


def test_strength_zero_touches_nothing_and_each_network_has_its_own(tiny_base: BaseModel) -> None:
    before = snapshot(tiny_base)
    weights = random_weights(tiny_base, text_encoder=True)
    apply(tiny_base, weights, 0, 0)
    assert is_same(tiny_base, before)
    undo = apply(tiny_base, weights, 1.0, 0.0)
    changed = {
        name.split(".")[0] for name, tensor in snapshot(tiny_base).items() if not torch.equal(tensor, before[name])
    }
    assert changed == {"unet"}
    undo()
    apply(tiny_base, weights, 0.0, 1.0)
    changed = {
        name.split(".")[0] for name, tensor in snapshot(tiny_base).items() if not torch.equal(tensor, before[name])
    }
    assert changed == {"text_encoder"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_a_finished_file_gives_the_weights_that_were_trained(tiny_folder: Path, dtype: torch.dtype) -> None:
    model = open_base(tiny_folder, torch.device("cpu"), dtype)
    lora = LoRA(LoRAConfig(rank=4))
    lora.attach(model)
    with torch.no_grad():
        for tensor in lora.state().values():
            tensor.normal_(std=0.1, generator=generator(0))
    lora.refresh()
    trained = snapshot(model)
    lora.detach()
    apply(model, lora.weights())
    assert is_same(model, trained)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_changes_too_small_to_round_to_arrive_in_the_mean(dtype: torch.dtype) -> None:
    original = torch.full((256, 64), 0.75).to(dtype)
    down, up = torch.ones(1, 64), torch.ones(256, 1)
    unit = 0.75 * torch.finfo(dtype).eps
    weight = original.clone()
    write_sum(weight, original, [Part(LowRankForm, {"lora_down": down, "lora_up": up}, 0.1 * unit)])
    assert not torch.equal(weight, original)
    assert (weight.double() - 0.75).mean().item() == pytest.approx(0.1 * unit, rel=0.1)
    write_sum(weight, original, [Part(LowRankForm, {"lora_down": down, "lora_up": up}, 0.0)])
    assert torch.equal(weight, original)


def _without(weights: Weights, leaf: str) -> Weights:
    return Weights("lora", "sd1", {name: t for name, t in weights.tensors.items() if not name.endswith(leaf)})


@pytest.mark.parametrize("budget", [0, 5_000, 1 << 28])
def test_the_noise_of_rounding_is_the_same_whatever_is_kept_of_it(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    dither = applied._Dither(budget)
    monkeypatch.setattr(applied, "_dither", dither)
    for _ in range(2):
        for count in (1000, 300, 1000, 9):
            total = torch.linspace(-1, 1, count)
            weight = torch.zeros(count, dtype=torch.bfloat16)
            size = 1 << (count - 1).bit_length()
            noise = torch.randint(0, 1 << 16, (size,), dtype=torch.int32, generator=generator(size))[:count]
            exact = (total.view(torch.int32) + noise) & ~0xFFFF
            applied.write_rounded(weight, total.clone())
            assert torch.equal(weight.float(), exact.view(torch.float32))
            assert sum(tensor.nbytes for tensor in dither.kept.values()) <= budget


def test_weights_that_do_not_fit_are_refused_and_nothing_is_changed(tiny_base: BaseModel) -> None:
    before = snapshot(tiny_base)
    good = random_weights(tiny_base)
    name = "unet.mid_block.attentions.0.proj_in"
    bad = {
        "fits no module": Weights("lora", "sd1", good.tensors | {"unet.nowhere.lora_up": torch.ones(4, 4)}),
        "no such network": Weights("lora", "sd1", good.tensors | {"text_encoder_2.a.lora_up": torch.ones(4, 4)}),
        "another shape": Weights("lora", "sd1", good.tensors | {f"{name}.lora_down": torch.ones(4, 63, 1, 1)}),
        "another rank": Weights("lora", "sd1", good.tensors | {f"{name}.lora_down": torch.ones(5, 64, 1, 1)}),
        "half is missing": _without(good, "lora_up"),
        "empty": Weights("lora", "sd1", {}),
        "another family": Weights("lora", "sdxl", good.tensors),
        "another kind": Weights("embedding", "sd1", good.tensors),
    }
    for weights in bad.values():
        with pytest.raises(UserError):
            apply(tiny_base, weights)
        assert is_same(tiny_base, before)
    with pytest.raises(UserError, match=r"1 of its 193 modules.*unet\.nowhere"):
        apply(tiny_base, bad["fits no module"])


def test_without_alpha_the_scale_is_one(tiny_base: BaseModel) -> None:
    weights = random_weights(tiny_base)
    full = {name: torch.tensor(4.0) if name.endswith("alpha") else tensor for name, tensor in weights.tensors.items()}
    undo = apply(tiny_base, Weights("lora", "sd1", full))
    expected = snapshot(tiny_base)
    undo()
    apply(tiny_base, _without(weights, "alpha"))
    assert is_same(tiny_base, expected)


def test_two_loras_cannot_train_the_same_layers(tiny_base: BaseModel) -> None:
    first = LoRA(LoRAConfig())
    first.attach(tiny_base)
    with pytest.raises(UserError, match="same layers"):
        LoRA(LoRAConfig()).attach(tiny_base)
    first.detach()


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"alpha": 0}, {"alpha": float("nan")}, {"layers": "attn"}])
def test_wrong_settings_are_named(wrong: dict[str, object]) -> None:
    with pytest.raises(UserError, match=next(iter(wrong))):
        LoRAConfig.read(wrong, "run.toml")


def test_a_misspelt_setting_is_answered_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"run\.toml: unknown setting 'rnak'; did you mean 'rank'\?"):
        LoRAConfig.read({"rnak": 8}, "run.toml")
