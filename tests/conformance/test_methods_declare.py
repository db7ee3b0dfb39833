"""What a registered method declares acts: its rates, each of its settings, and what it takes of the run's."""

import functools
from collections.abc import Callable
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

import pytest
import torch
from training import already, examples, small_run
from training import run as teach

from limner import run
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.config import TrainSettings, read_training
from limner.errors import UserError
from limner.generators import finish
from limner.methods import slider
from limner.methods.family import TEXT_LR_SCALE
from limner.methods.method import find_method, methods
from limner.optimize import OPTIMIZERS, make_optimizer
from limner.run import job as jobs
from limner.train import Plan

NAMES = sorted(methods())
KEYWORD = "zqvx"
SMALL = {"pictures": 1}
# Another value of a setting of which the next one that is allowed need not change a network this small.
OTHER: dict[str, Any] = {
    "rank": 2, "conv_rank": 2, "factor": 2, "block_size": 4, "ranks": {"*": 3}, "rates": {"*": 0.5}, "max_norm": 0.01,
    "up_rate": 16.0, "noisy_rank": 0.1, "initial": "dog", "keyword": "qrst", "positive": "a red cat",
    "negative": "a blue cat", "target": "a house",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slider, "STEPS", 2)


@pytest.fixture(scope="module")
def model(flat_folder: Path) -> BaseModel:
    return open_base(flat_folder, torch.device("cpu"), torch.float32)


def configured(name: str, **changes: Any) -> Any:
    """The settings of a method with their defaults, but for what has none, what would be slow, and `changes`."""
    config = find_method(name).Config
    needed = {field: info.examples[0] for field, info in config.model_fields.items() if info.examples}
    needed |= {field: value for field, value in SMALL.items() if field in config.model_fields}
    return config.read(needed | changes, "test")


def another(name: str, field: str) -> Any:
    """A value of a setting that is not its default."""
    info, value = find_method(name).Config.model_fields[field], getattr(configured(name), field)
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    if choices:
        return next(choice for choice in choices if choice != value)
    if field in OTHER:
        return OTHER[field]
    assert get_origin(info.annotation) not in (Union, UnionType), f"say in OTHER what {name}.{field} can be"
    return {bool: lambda: not value, int: lambda: value + 1, float: lambda: value / 2 or 0.5, str: lambda: "a cat"}[
        type(value)
    ]()


def made(name: str, config: Any, model: BaseModel, steps: int) -> str:
    """All that a method is before the first step, or after some: how it is grouped, its numbers, and its file."""
    method = find_method(name)(config)
    if steps:
        teach(model, Plan(steps=steps, learning_rate=1e-2), [method], live_text=method.trains_text, keyword=KEYWORD)
        groups = []
    else:
        groups = [(each.name, each.lr_scale, len(each.parameters)) for each in method.attach(model)]
        method.detach()
    weights = method.weights()
    tensors = {**method.state(), **weights.tensors}
    numbers = [(n, tuple(t.shape), t.double().sum().item(), t.double().abs().sum().item()) for n, t in tensors.items()]
    return repr((groups, weights.name, numbers))


@pytest.fixture(scope="module")
def plainly(model: BaseModel) -> Callable[[str, int], str]:
    """What a method with its defaults is, found out once."""
    return functools.cache(lambda name, steps: made(name, configured(name), model, steps))


@pytest.mark.parametrize(("name", "field"), [(n, f) for n in NAMES for f in find_method(n).Config.model_fields])
def test_each_of_its_settings_changes_what_is_trained(
    name: str, field: str, model: BaseModel, plainly: Callable[[str, int], str]
) -> None:
    changed = configured(name, **{field: another(name, field)})
    if plainly(name, 0) == made(name, changed, model, 0):
        assert plainly(name, 2) != made(name, changed, model, 2)


@pytest.mark.parametrize("name", NAMES)
def test_its_rates_reach_the_optimizer(
    name: str, model: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "opening", lambda *_: already(model))
    method = find_method(name)
    values = small_run(tmp_path / "photos", [(64, 64)], tmp_path, tmp_path / "cache", method=name)
    values |= {name: configured(name).model_dump()} | ({} if method.needs_images else {"images": None})
    monkeypatch.setattr(jobs, "find_base", lambda _: tmp_path)
    cases = [("dog", 64), ("line style", 64), ("dog", 512)]
    for optimizer, entry in OPTIMIZERS.items():
        for (class_word, resolution), rate in zip(cases, method.rates, strict=True):
            told = values | {"class": class_word, "resolution": resolution, "optimizer": optimizer}
            job = finish(jobs.prepare(*read_training(told, "test"), "test"))
            peak = entry.learning_rate * (1 if entry.one_rate else rate)
            assert job.plan(None).learning_rate == pytest.approx(peak)
    plan = job.plan(None)
    trained = method(configured(name))
    groups = trained.attach(model)
    trained.detach()
    for entry_name in ("adamw", "adafactor", "prodigy"):
        peaks = [group["lr"] for group in make_optimizer(entry_name, groups, plan.learning_rate).param_groups]
        scales = [1.0 if OPTIMIZERS[entry_name].one_rate else group.lr_scale for group in groups]
        assert peaks == [pytest.approx(plan.learning_rate * scale) for scale in scales]


@pytest.mark.parametrize("name", [n for n in NAMES if "text_encoder" in find_method(n).Config.model_fields])
def test_the_text_encoder_learns_at_a_rate_of_its_own(name: str, model: BaseModel) -> None:
    method = find_method(name)(configured(name, text_encoder=True))
    groups = method.attach(model)
    method.detach()
    scales = {network: max(g.lr_scale for g in groups if g.name == network) for network in ("unet", "text_encoder")}
    assert scales["text_encoder"] == pytest.approx(TEXT_LR_SCALE * scales["unet"])


@pytest.mark.parametrize("name", NAMES)
def test_what_it_takes_of_the_run_arrives_unless_its_own_table_says_otherwise(name: str) -> None:
    method = find_method(name)
    values = {"images": "x", "keyword": KEYWORD, "class": "dog", "clip_skip": 3, "method": name, "seed": 5}
    settings = TrainSettings.read(values, "test")
    needed = {
        f: i.examples[0] for f, i in method.Config.model_fields.items() if i.examples and f not in method.from_run
    }
    config = jobs.read_methods(settings, {name: needed}, "test")[name]
    for own, of_run in method.from_run.items():
        assert getattr(config, own) == getattr(settings, of_run)
        other = another(name, own)
        assert getattr(jobs.read_methods(settings, {name: needed | {own: other}}, "test")[name], own) == other


@pytest.mark.parametrize("name", NAMES)
def test_it_says_whether_it_needs_images(name: str, model: BaseModel) -> None:
    needs = find_method(name).needs_images
    given = {"keyword": KEYWORD, "method": name} | ({} if needs else {"images": "x"})
    with pytest.raises(UserError, match="images|pictures" if needs else "learns from prompts alone; leave x out"):
        list(run.train(*read_training(given, "test")))
    assert examples(model, 1)  # whose latents a method that needs none does not look at: see the loss below
    method = find_method(name)(configured(name))
    losses = []
    method.attach(model)
    for size in (0.0, 5.0):
        one = examples(model, 1, live_text=True)[0]
        batch = jobs.Batches([type(one)(one.latents * size, f"a {KEYWORD}", None)], 1, 0).at(0)
        losses.append(float(method.loss(model, batch, torch.Generator().manual_seed(1)).detach()))
    method.detach()
    assert (losses[0] != losses[1]) == needs
