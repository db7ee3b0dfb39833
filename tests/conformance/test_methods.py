"""What every registered method keeps to: a new one is tested here without a line of test."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from training import run, same, snapshot

from limner.base.families import UNETS
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.config import Settings
from limner.device import generator
from limner.errors import UserError
from limner.formats import load_weights, save_weights
from limner.methods import slider
from limner.methods.method import Method, find_method, methods
from limner.train import Plan

pytestmark = pytest.mark.parametrize("name", sorted(methods()))


@pytest.fixture(params=UNETS)
def family_base(request: pytest.FixtureRequest, tiny_folders: Callable[[str], Path]) -> BaseModel:
    """A tiny base of one family after another."""
    return open_base(tiny_folders(request.param), torch.device("cpu"), torch.float32)


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slider's own pictures are of this many steps, and a random base draws nothing in more of them either."""
    monkeypatch.setattr(slider, "STEPS", 4)


SMALL = {"pictures": 1}  # settings of methods
KEYWORD = "zqvx"  # in every caption, and the stem of the files: what a method teaches may be this word alone


def predict(model: BaseModel, prompt: str = "a drawing of a cat") -> torch.Tensor:
    """The model's answer to fixed noise and a prompt, without gradients: torch adds up a linear layer in another order
    where its weight asks for them."""
    latents = torch.randn(2, 4, 8, 8, generator=generator(1)).to(model.dtype)
    asking = [p for network in model.networks.values() for p in network.parameters() if p.requires_grad]
    for parameter in asking:
        parameter.requires_grad_(False)
    with torch.no_grad():
        answer = model.predict(latents, torch.tensor([100, 800]), model.encode_prompts([prompt] * 2))
    for parameter in asking:
        parameter.requires_grad_(True)
    return answer


def make(name: str) -> Method:
    """The method with its defaults, and the first of its examples for each setting that has none; what makes it slow
    is made small."""
    fields = find_method(name).Config.model_fields
    needed = {field: info.examples[0] for field, info in fields.items() if info.examples}
    needed |= {field: value for field, value in SMALL.items() if field in fields}
    return find_method(name)(find_method(name).Config.read(needed, "test"))


def teach(model: BaseModel, plan: Plan, method: Method) -> None:
    run(model, plan, [method], live_text=method.trains_text, keyword=KEYWORD)


def trained(name: str, model: BaseModel) -> Method:
    method = make(name)
    teach(model, Plan(steps=2, learning_rate=1e-2, schedule="constant"), method)
    return method


def test_it_declares_its_settings(name: str) -> None:
    method = methods()[name]
    assert issubclass(method, Method)
    assert issubclass(method.Config, Settings)
    assert all(field.description for field in method.Config.model_fields.values())
    with pytest.raises(UserError):
        method.Config.read({"no_such_setting": 1}, "test")


def test_before_the_first_step_the_base_answers_as_ever_and_after_detaching_it_is_as_ever(
    name: str, family_base: BaseModel
) -> None:
    before, answer = snapshot(family_base), predict(family_base)
    method = make(name)
    groups = method.attach(family_base)
    assert groups
    assert all(p.dtype == torch.float32 and p.requires_grad for group in groups for p in group.parameters)
    torch.testing.assert_close(predict(family_base), answer, rtol=1e-5, atol=1e-6)
    method.detach()
    method.detach()
    assert same(snapshot(family_base), before)
    assert torch.equal(predict(family_base), answer)
    assert KEYWORD not in family_base.words


def test_a_step_moves_its_own_parameters_only(name: str, family_base: BaseModel) -> None:
    before = snapshot(family_base)
    parameters = {id(p) for network in family_base.networks.values() for p in network.parameters()}
    method = make(name)
    start = {n: t.clone() for n, t in _attached_state(method, family_base).items()}
    teach(family_base, Plan(steps=1, learning_rate=1e-2), method)
    assert not same(start, {n: t.detach() for n, t in method.state().items()})
    assert same(snapshot(family_base), before)
    assert parameters == {id(p) for network in family_base.networks.values() for p in network.parameters()}
    assert all(p.grad is None for network in family_base.networks.values() for p in network.parameters())


def _attached_state(method: Method, model: BaseModel) -> dict[str, torch.Tensor]:
    method.attach(model)
    method.detach()
    return method.state()


@pytest.mark.parametrize(
    ("family", "dtype"),
    [
        ("sd1", torch.bfloat16),
        ("sd1", torch.float32),
        ("sd2", torch.float32),
        ("sdxl", torch.float32),
    ],
)
def test_exported_and_imported_it_gives_the_same_answer(
    name: str, tiny_folders: Callable[[str], Path], tmp_path: Path, family: str, dtype: torch.dtype
) -> None:
    model = open_base(tiny_folders(family), torch.device("cpu"), dtype)
    prompt = f"a drawing of a {KEYWORD} cat"
    before, plain = snapshot(model), predict(model, prompt)
    method = trained(name, model)
    restored = make(name)
    restored.attach(model, seed=5)
    restored.load_state(method.state())
    while_training = predict(model, prompt)
    restored.detach()
    save_weights(method.weights(), tmp_path / f"{KEYWORD}.safetensors", dtype=torch.float32)
    undo = find_method(name).apply(model, load_weights(tmp_path / f"{KEYWORD}.safetensors"))
    assert torch.equal(predict(model, prompt), while_training)
    assert not torch.equal(while_training, plain)
    undo()
    assert same(snapshot(model), before)
    assert torch.equal(predict(model, prompt), plain)


def test_the_same_seed_learns_the_same(name: str, tiny_base: BaseModel) -> None:
    assert same(trained(name, tiny_base).weights().tensors, trained(name, tiny_base).weights().tensors)
    assert find_method(name).kind == trained(name, tiny_base).weights().kind


def test_state_of_other_settings_is_refused(name: str, tiny_base: BaseModel) -> None:
    method = make(name)
    method.attach(tiny_base)
    with pytest.raises(UserError):
        method.load_state({"nothing": torch.zeros(1)})
    method.detach()
