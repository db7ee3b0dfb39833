"""Full fine-tuning: nothing swallowed by rounding, averages, exact resumes, strengths, and what it costs."""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from training import examples, losses, run, same, snapshot

from limner.base.model import BaseModel
from limner.base.open import full_precision, open_base
from limner.data.batch import Batches
from limner.errors import UserError
from limner.events import Step
from limner.methods.full import Full, FullConfig
from limner.methods.lora import LoRA, LoRAConfig
from limner.methods.method import find_methods
from limner.optimize import make_optimizer
from limner.train import Plan, train

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("config", "settings", "dtype"),
    [
        (FullConfig(ema=0.9), {}, torch.bfloat16),
        (FullConfig(text_encoder=True), {"optimizer": "adafactor", "gradient_accumulation": 2}, torch.float32),
    ],
    ids=["average", "adafactor"],
)
def test_a_resumed_run_is_the_unbroken_one_bit_for_bit(
    tiny_folder: Path, tmp_path: Path, config: FullConfig, settings: dict, dtype: torch.dtype
) -> None:
    plan = Plan(steps=4, state_dir=tmp_path / "a", save_every=2, learning_rate=1e-3, **settings)
    text = config.text_encoder
    _, unbroken = run(open_base(tiny_folder, CPU, dtype), plan, [Full(config)], live_text=text)
    broken = dataclasses.replace(plan, state_dir=tmp_path / "b")
    model = open_base(tiny_folder, CPU, dtype)
    stream = train(model, Batches(examples(model, live_text=text), 2, seed=0), [Full(config)], broken)
    for event in stream:
        if isinstance(event, Step) and event.step == 3:
            break
    stream.close()
    _, resumed = run(open_base(tiny_folder, CPU, dtype), broken, [Full(config)], live_text=text)
    assert same(resumed, unbroken)


def test_bfloat16_swallows_no_small_step(tiny_folder: Path) -> None:
    """Weights that grow by a tenth of bfloat16's unit do so in the mean, though rounded to nearest none would move."""
    model = open_base(tiny_folder, CPU, torch.bfloat16)
    method = Full(FullConfig())
    method.attach(model)
    weights = model.networks["unet"].mid_block.resnets[0].conv1.weight.detach()
    before = weights.clone()
    growth = 2**-8 / 10
    assert torch.equal((before.float() * (1 + growth)).bfloat16(), before)
    with torch.no_grad():
        for master in method.masters.values():
            master.weights.mul_(1 + growth)
    method.refresh()
    moved = (weights.double() - before.double()) * before.double().sign()
    assert float(moved.sum() / before.double().abs().sum()) == pytest.approx(growth, rel=0.2)
    method.detach()
    assert torch.equal(
        weights, open_base(tiny_folder, CPU, torch.bfloat16).networks["unet"].mid_block.resnets[0].conv1.weight
    )


def test_what_was_not_trained_is_exported_as_the_file_has_it(tiny_folder: Path) -> None:
    """Not in the precision in which the model computes."""
    model, exact = (open_base(tiny_folder, CPU, dtype) for dtype in (torch.bfloat16, torch.float32))
    method = Full(FullConfig())
    method.attach(model)
    method.detach()
    tensors = method.weights().tensors
    for network in ("unet", "vae", "text_encoder"):
        for path, tensor in full_precision(exact, network).items():
            assert torch.equal(tensors[f"{network}.{path}"], tensor)


def test_the_average_is_exported(tiny_base: BaseModel) -> None:
    seen: list[torch.Tensor] = []
    method = Full(FullConfig(ema=0.5))
    batches = Batches(examples(tiny_base), 2, seed=0)
    for event in train(tiny_base, batches, [method], Plan(steps=4, learning_rate=1e-2, schedule="constant")):
        if isinstance(event, Step):
            seen.append(method.masters["unet.conv_in.weight"].weights.detach().clone())
    start = tiny_base.networks["unet"].conv_in.weight.detach().flatten(1)
    wanted = start.clone()
    for step, weights in enumerate(seen, 1):
        keep = min(0.5, (1 + step) / (10 + step))
        wanted = keep * wanted + (1 - keep) * weights
    exported = method.weights().tensors["unet.conv_in.weight"].flatten(1)
    torch.testing.assert_close(exported, wanted)
    assert not torch.allclose(exported, seen[-1], atol=1e-4)


def test_strengths_lie_between_the_base_and_the_file(tiny_base: BaseModel) -> None:
    before = snapshot(tiny_base)
    method = Full(FullConfig(text_encoder=True))
    run(tiny_base, Plan(steps=1, learning_rate=1e-2), [method], live_text=True)
    weights = method.weights()
    conv, text = "unet.conv_in.weight", "text_encoder.encoder.layers.0.mlp.fc1.weight"
    undo = Full.apply(tiny_base, weights, 0.25, 0.0)
    now = snapshot(tiny_base)
    torch.testing.assert_close(now[conv], torch.lerp(before[conv], weights.tensors[conv], 0.25))
    assert torch.equal(now[text], before[text])
    undo()
    assert same(snapshot(tiny_base), before)
    undo = Full.apply(tiny_base, weights, 1.0, 1.0)
    now = snapshot(tiny_base)
    assert torch.equal(now[text], weights.tensors[text])
    assert not torch.equal(now[text], before[text])
    vocabulary = "text_encoder.embeddings.token_embedding.weight"
    assert torch.equal(now[vocabulary], before[vocabulary])
    undo()
    Full.apply(tiny_base, weights, 0.0, 0.0)()
    assert same(snapshot(tiny_base), before)


def test_checkpointing_changes_nothing_but_memory(tiny_base: BaseModel) -> None:
    plan = Plan(steps=2, learning_rate=1e-3)
    plain_events, plain = run(tiny_base, plan, [Full(FullConfig())])
    events, tensors = run(tiny_base, dataclasses.replace(plan, gradient_checkpointing=True), [Full(FullConfig())])
    assert losses(events) == losses(plain_events)
    assert same(tensors, plain)


def test_a_factored_optimizer_holds_a_few_percent(tiny_base: BaseModel) -> None:
    """AdamW keeps two float32 numbers for each weight, Adafactor one for a row and one for a column."""

    def state_bytes(optimizer: str) -> int:
        method = Full(FullConfig())
        made = make_optimizer(optimizer, method.attach(tiny_base), None)
        for master in method.masters.values():
            master.weights.grad = torch.ones_like(master.weights)
        made.step()
        method.detach()
        return sum(_bytes(made.state_dict()["state"].values()))

    count = sum(p.numel() for p in tiny_base.networks["unet"].parameters())
    assert state_bytes("adamw") == pytest.approx(8 * count, rel=0.01)
    assert state_bytes("adafactor") < 0.05 * 8 * count


def _bytes(states: Iterable[dict]) -> list[int]:
    return [t.numel() * t.element_size() for state in states for t in state.values() if isinstance(t, torch.Tensor)]


def test_what_cannot_be_is_refused(tiny_base: BaseModel) -> None:
    with pytest.raises(UserError, match="full and lora would move the same layers"):
        find_methods("full+lora")
    lora, full = LoRA(LoRAConfig(rank=2)), Full(FullConfig())
    lora.attach(tiny_base)
    with pytest.raises(UserError, match="the same layers"):
        full.attach(tiny_base)
    lora.detach()
    run(tiny_base, Plan(steps=1), [full])
    weights = full.weights()
    undo = LoRA.apply(tiny_base, _some_lora(tiny_base))
    with pytest.raises(UserError, match="take them out first"):
        Full.apply(tiny_base, weights)
    undo()
    weights.tensors["unet.conv_in.weight"] = torch.zeros(3, 3)
    with pytest.raises(UserError, match=r"unet\.conv_in\.weight is missing or of another"):
        Full.apply(tiny_base, weights)


def _some_lora(model: BaseModel):  # type: ignore[no-untyped-def]
    lora = LoRA(LoRAConfig(rank=2))
    run(model, Plan(steps=1), [lora])
    return lora.weights()
