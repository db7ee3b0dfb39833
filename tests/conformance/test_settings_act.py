"""Every setting of a training arrives where it acts: a changed value changes what the run does.

A setting that is added to TrainSettings or to a method fails here until it changes something that is looked at, or
until the test that shows what it does is named in ELSEWHERE.
"""

import hashlib
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from training import already, same
from training import run as teach

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.config import TrainSettings, read_training
from limner.data.batch import Batch
from limner.diffusion import Objective
from limner.events import Warned
from limner.generators import finish
from limner.methods.lora import LoRA, LoRAConfig
from limner.methods.method import ParamGroup
from limner.optimize import OPTIMIZERS, make_optimizer
from limner.run import job as jobs
from limner.run.schedule import Schedule
from limner.train import Plan

TESTS = Path(__file__).resolve().parents[1]
# Settings that act where no job shows it, and the test that does.
ELSEWHERE = {
    "device": "test_cli.py::test_a_mistake_is_named_in_one_sentence_and_nothing_is_written",
    "precision": "base/test_open.py::test_a_precision_is_every_tensor_s",
    "base": "conformance/test_methods.py::test_exported_and_imported_it_gives_the_same_answer",
    "prediction_type": "base/test_open.py::test_a_wrong_override_is_warned_of",
    "vae": "base/test_open.py::test_another_vae_in_every_spelling",
    "cache": "data/test_cache.py::test_examples_and_a_second_run_from_the_cache",
    "bundle": "test_pivotal.py::test_a_lora_can_bring_its_embedding_along",
    "diffusers_folder": "test_dreambooth.py::test_a_folder_in_diffusers_layout_on_request",
    "overwrite": "test_run.py::test_a_finished_file_is_not_replaced_unasked",
    "file_precision": "test_pivotal.py::test_pivotal_writes_two_files_where_the_webui_looks_for_them",
    "run": "test_run.py::test_a_whole_run",
    "previews": "test_run.py::test_a_whole_run",
    "stop": "test_watch.py::test_it_stops_by_itself_and_says_why",
    "keep": "test_watch.py::test_every_milestone_can_be_a_file",
    "tensorboard": "test_watch.py::test_tensorboard_gets_every_line",
    "minutes": "test_budget.py::test_train_exports_what_it_has",
}
MATCH = {"prior": "match", "class_count": 2}
# Of each other setting: what it is changed from, beside VALUES, and what it is changed to.
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "seed": ({}, {"seed": 1}),
    "out": ({}, {"out": "other.safetensors"}),
    "models": ({}, {"models": "elsewhere"}),
    "save_every": ({}, {"save_every": 3}),
    "preview_prompt": ({}, {"preview_prompt": "a cat"}),
    "held_out": ({}, {"held_out": 1}),
    "measure_every": ({}, {"measure_every": 2}),
    "milestones": ({}, {"milestones": 2}),
    "prior": ({"class_count": None}, MATCH),
    "class_count": (MATCH, {"class_count": 3}),
    "class_prompt": (MATCH, {"class_prompt": "a puppy"}),
    "class_seed": (MATCH, {"class_seed": 1}),
    "prior_weight": (MATCH, {"prior_weight": 2.0}),
    "class_images": ({"prior": "images", "class_images": "dogs"}, {"class_images": "others"}),
    "method": ({}, {"method": "lokr"}),
    "steps": ({}, {"steps": 7}),
    "batch_size": ({}, {"batch_size": 1}),
    "optimizer": ({}, {"optimizer": "adafactor"}),
    "learning_rate": ({}, {"learning_rate": 0.5}),
    "schedule": ({}, {"schedule": "linear"}),
    "warmup_steps": ({}, {"warmup_steps": 3}),
    "caption_dropout": ({}, {"caption_dropout": 0.9}),
    "min_snr_gamma": ({}, {"min_snr_gamma": 1.0}),
    "weighting": ({}, {"weighting": "p2"}),
    "timesteps": ({}, {"timesteps": "high"}),
    "noise_offset": ({}, {"noise_offset": 0.1}),
    "input_perturbation": ({}, {"input_perturbation": 0.1}),
    "huber": ({}, {"huber": 0.1}),
    "zero_terminal_snr": ({}, {"zero_terminal_snr": True}),
    "max_grad_norm": ({}, {"max_grad_norm": 0.1}),
    "clip_skip": ({}, {"clip_skip": 2}),
    "gradient_accumulation": ({}, {"gradient_accumulation": 2}),
    "gradient_checkpointing": ({}, {"gradient_checkpointing": True}),
    "images": ({}, {"images": "dogs"}),
    "keyword": ({}, {"keyword": "qrst"}),
    "class_word": ({}, {"class": "cat"}),
    "template": ({}, {"template": "a photo of {keyword} {class}"}),
    "shuffle_captions": ({}, {"shuffle_captions": True}),
    "keep_tags": ({"shuffle_captions": True}, {"keep_tags": 3}),
    "tag_dropout": ({}, {"tag_dropout": 0.5}),
    "crops": ({}, {"crops": 2}),
    "mirror": ({}, {"mirror": True}),
    "colour_jitter": ({}, {"colour_jitter": 0.5}),
    "masks": ({}, {"masks": "masks"}),
    "alpha_masks": ({}, {"alpha_masks": True}),
    "mask_background": ({"alpha_masks": True}, {"mask_background": 0.7}),
    "resolution": ({}, {"resolution": 96}),
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three images, of which one has no caption and one is half transparent; masks; and two folders of a class."""
    root = tmp_path_factory.mktemp("settings")
    for name, count in (("photos", 3), ("dogs", 1), ("others", 1)):
        (root / name).mkdir()
        for index in range(count):
            image = Image.effect_noise((90, 70), 60 + index + len(name)).convert("RGB")
            if index == 1:
                image.putalpha(Image.linear_gradient("L").resize((90, 70)).point(lambda level: 255 * (level > 127)))
            image.save(root / name / f"{index}.png")
    (root / "masks").mkdir()
    Image.linear_gradient("L").resize((90, 70)).save(root / "masks" / "0.png")
    for index in range(2):
        (root / "photos" / f"{index}.txt").write_text(f"zqvx dog, red, big, left, day {index}")
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    """Of the smallest base; it predicts v, so that terminal noise can be trained."""
    from bases import FLAT, save_tiny

    folder = save_tiny("sd1", tmp_path_factory.mktemp("base") / "flat", "v_prediction", FLAT)
    return open_base(folder, torch.device("cpu"), torch.float32)


@pytest.fixture(scope="module")
def seen() -> dict[str, Any]:
    """What was observed of some settings, as many tests start from the same ones."""
    return {}


@pytest.fixture
def observed(
    place: Path, model: BaseModel, seen: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Any]:
    """observed(**settings): all that a run of them would do, as far as it is decided before the first step."""
    monkeypatch.chdir(place)
    monkeypatch.setattr(jobs, "opening", lambda *_: already(model))
    monkeypatch.setattr(jobs, "find_base", lambda _: place)
    values = {"images": "photos", "keyword": "zqvx", "class": "dog", "steps": 6, "batch_size": 2, "crops": 0}
    values |= {"previews": 1, "resolution": 64, "device": "cpu", "precision": "fp32", "cache": place / "cache"}
    values |= {"warmup_steps": 0, "learning_rate": 1e-3, "held_out": 0, "measure_every": 0, "milestones": 0}
    values |= {"prior": "none", "models": "models"}

    def observe(**changes: Any) -> dict[str, Any]:
        if repr(changes) not in seen:
            seen[repr(changes)] = look(changes)
        return seen[repr(changes)]

    def look(changes: dict[str, Any]) -> dict[str, Any]:
        told = {name: value for name, value in (values | changes).items() if value is not None}
        job = finish(jobs.prepare(*read_training(told, "test"), "test"))
        batches = finish(job.encode())
        schedule = Schedule.of(job.settings)
        return {
            "methods": job.methods,
            "plan": job.plan(None),
            "batches": [_digest(batches.at(step)) for step in range(6)],
            "outputs": job.outputs,
            "preview": job.preview(),
            "watched": (schedule.at_measurements, schedule.at_milestones, job.record.held_out),
        }

    return observe


def _digest(batch: Batch) -> str:
    """Of all that a batch holds."""
    digest = hashlib.sha256(repr(batch.captions).encode())
    told = {} if batch.conditioning is None else batch.conditioning.tensors
    tensors = {each.name: getattr(batch, each.name) for each in fields(batch)} | told
    for name, tensor in sorted(tensors.items()):
        if isinstance(tensor, torch.Tensor):
            digest.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def test_no_setting_is_left_out() -> None:
    assert CHANGES.keys() | ELSEWHERE.keys() == TrainSettings.model_fields.keys()
    assert not CHANGES.keys() & ELSEWHERE.keys()
    for test in ELSEWHERE.values():
        file, _, name = test.partition("::")
        assert f"def {name}(" in (TESTS / file).read_text(encoding="utf-8"), test


@pytest.mark.parametrize("name", CHANGES)
def test_a_changed_setting_changes_the_run(name: str, observed: Callable[..., Any]) -> None:
    before, change = CHANGES[name]
    assert observed(**before) != observed(**before | change)


# Of each field of the loop's plan, a value that changes what is learned.
PLAN = Plan(steps=2, learning_rate=1e-2, objective=Objective(min_snr_gamma=None))
LEARNED_OTHERWISE: dict[str, Any] = {
    "steps": 1, "seed": 1, "optimizer": "prodigy", "learning_rate": 2e-2, "schedule": "constant", "warmup_steps": 1,
    "gradient_accumulation": 2, "max_grad_norm": 1e-3,
}  # fmt: skip
OBJECTIVE: dict[str, Any] = {
    "min_snr_gamma": 1.0, "clip_skip": 2, "weighting": "p2", "timesteps": "high", "zero_terminal_snr": True,
    "noise_offset": 0.3, "input_perturbation": 0.3, "huber": 0.1,
}  # fmt: skip
NOT_LEARNED = {"state_dir", "run", "save_every", "gradient_checkpointing", "objective"}


@pytest.fixture(scope="module")
def plainly(model: BaseModel) -> dict[str, torch.Tensor]:
    return _learned(model, PLAN)


def _learned(model: BaseModel, plan: Plan) -> dict[str, torch.Tensor]:
    lora = LoRA(LoRAConfig(rank=2, layers="attention"))
    return teach(model, plan, [lora], live_text=plan.objective.clip_skip > 1)[1]


def test_no_field_of_the_plan_is_left_out() -> None:
    assert LEARNED_OTHERWISE.keys() | NOT_LEARNED == {each.name for each in fields(Plan)}
    assert OBJECTIVE.keys() == {each.name for each in fields(Objective)}


@pytest.mark.parametrize("name", [*LEARNED_OTHERWISE, *OBJECTIVE])
def test_the_plan_reaches_what_is_learned(name: str, model: BaseModel, plainly: dict[str, torch.Tensor]) -> None:
    if name in OBJECTIVE:
        plan = replace(PLAN, objective=replace(PLAN.objective, **{name: OBJECTIVE[name]}))
    else:
        plan = replace(PLAN, **{name: LEARNED_OTHERWISE[name]})
    assert not same(_learned(model, plan), plainly)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_decays_weights_by_its_decay_and_by_its_rate(name: str) -> None:
    """Not by the learning rate in the place of the decay, nor the other way round."""
    decay = {"adamw": 0.01}.get(name, 0.0)
    parameter = torch.nn.Parameter(torch.ones(2, 2))
    optimizer = make_optimizer(name, [ParamGroup("all", [parameter], lr_scale=0.5)], 0.2)
    rate = 0.2 if OPTIMIZERS[name].one_rate else 0.1
    assert [(group["lr"], group["weight_decay"]) for group in optimizer.param_groups] == [(rate, decay)]
    parameter.grad = torch.zeros(2, 2)
    optimizer.step()
    torch.testing.assert_close(parameter.detach(), torch.full((2, 2), 1 - rate * decay))


def test_adamw_averages_by_its_betas() -> None:
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = make_optimizer("adamw", [ParamGroup("all", [parameter])], 0.1)
    where, first, second = 0.0, 0.0, 0.0
    for step, slope in enumerate((1.0, -2.0, 0.5), 1):
        parameter.grad = torch.tensor([slope])
        optimizer.step()
        first, second = 0.9 * first + 0.1 * slope, 0.99 * second + 0.01 * slope**2
        where -= 0.1 * (0.01 * where + first / (1 - 0.9**step) / ((second / (1 - 0.99**step)) ** 0.5 + 1e-8))
    assert float(parameter.detach()) == pytest.approx(where, rel=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"weighting": "p2", "min_snr_gamma": 1.0},
            "min_snr_gamma = 1 does nothing here: it belongs to weighting = min-snr, not p2",
        ),
        ({"keep_tags": 2}, "keep_tags = 2 does nothing here: no tags are shuffled"),
        ({"prior_weight": 2.0}, "prior_weight = 2 does nothing here: prior = none"),
        ({"class_seed": 3}, "class_seed = 3 does nothing here"),
        ({"optimizer": "prodigy", "learning_rate": 1.0, "lora": {"up_rate": 4}}, "lora.up_rate = 4.0 does nothing"),
        ({}, ""),
    ],
)
def test_a_setting_that_does_nothing_is_said(
    changes: dict[str, Any], said: str, observed: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    prepare = jobs.prepare

    def listening(*given: Any) -> Any:
        events = prepare(*given)
        try:
            while True:
                event = next(events)
                warned.extend([event.message] if isinstance(event, Warned) else [])
                yield event
        except StopIteration as end:
            return end.value

    monkeypatch.setattr(jobs, "prepare", listening)
    observed(**changes, save_every=7)  # which no other test looked at
    found = [each for each in warned if "does nothing here" in each]
    assert len(found) == bool(said)
    assert not said or said in found[0]


def test_a_rate_of_one_method_is_not_that_of_another() -> None:
    """What methods that are trained together share is the lowest of their rates, case by case."""
    from limner.methods.loha import LoHa
    from limner.methods.method import Method, usual_rates

    class Odd(LoHa):
        rates = (0.5, 9.0, 7.0)

    assert usual_rates([Odd, LoHa]) == tuple(map(min, zip(Odd.rates, LoHa.rates, strict=True)))
    assert usual_rates([LoHa]) == LoHa.rates
    assert Method.rates == (1.0, 1.0, 1.0)
