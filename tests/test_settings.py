"""Every setting's way: command line, TOML, run.toml and back, to where it acts; and the pages made from them."""

import dataclasses
import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from annotated_types import Ge, Le
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic.fields import FieldInfo

from limner.cli import app, verbs
from limner.config import Drawing, TrainSettings, names, read_training
from limner.diffusion import Objective, Weighting, loss_weights
from limner.errors import UserError
from limner.generate import Request
from limner.generate.read import read_request
from limner.methods.lora import LoRAConfig
from limner.optimize import OPTIMIZERS, SCHEDULES
from limner.run.derive import derive
from limner.run.folder import to_toml
from limner.run.job import Job
from limner.run.outputs import default_out
from limner.train import Plan

ROOT = Path(__file__).parents[1]
VERBS = "demo|check|train|resume|generate|evaluate|inspect|dreambooth|convert|extract|merge|resize"
TEXTS = st.text("abcz é-_.'\"\\#=[]{", min_size=1, max_size=12).filter(lambda text: text.strip() == text)


def values_of(field: FieldInfo) -> st.SearchStrategy[Any]:
    """Values for a field, by its type and bounds."""
    options = [option for option in get_args(field.annotation) or (field.annotation,) if option is not type(None)]
    if get_args(options[0]):  # a choice that may be left open
        options = list(get_args(options[0]))
    if isinstance(options[0], str):
        return st.sampled_from(options)
    if int in options:
        low = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), 1)
        high = next((bound.le for bound in field.metadata if isinstance(bound, Le)), 10_000)
        return st.integers(low, high)
    kinds = {bool: st.just(True), float: st.floats(0.125, 0.875), str: TEXTS}
    return next((kinds[option] for option in options if option in kinds), TEXTS.map(lambda text: Path("x") / text))


TRAINING = st.fixed_dictionaries(
    {name: values_of(TrainSettings.model_fields[name]) for name in ("images", "keyword")},
    optional={
        (field.alias or name): values_of(field)
        for name, field in TrainSettings.model_fields.items()
        if name not in ("images", "keyword", "method")
    },
)


def read(values: dict[str, Any]) -> TrainSettings | None:
    """The settings of these values, or None where they contradict each other."""
    try:
        return read_training(values, "test")[0]
    except UserError as error:
        if not re.search("prodigy|warmup|preview_prompt|prior|measure_every", str(error)):
            raise
        return None


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=TRAINING)
def test_the_command_line_and_toml_mean_the_same(values: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = read(values)
    if expected is None:
        return
    given: list[dict[str, Any]] = []
    monkeypatch.setattr("limner.preparation.again.training", lambda settings, *_: given.append(settings))
    monkeypatch.setattr(verbs, "_predict", lambda *_: {})
    options = {f"--{name.replace('_', '-')}": value for name, value in values.items()}
    app(["train", "--dry-run", *(name if value is True else f"{name}={value}" for name, value in options.items())])
    assert given == [expected]
    lora = LoRAConfig(ranks={"unet.*to_q": 3}, rates={"*": 0.5}, rank=3)  # tables within a line, with others behind
    again, tables = read_training(tomllib.loads(to_toml(expected, {"lora": lora}, [])), "test")
    assert again == expected
    assert LoRAConfig.read(tables["lora"], "test") == lora


@settings(max_examples=50, deadline=None)
@given(
    values=TRAINING,
    pictures=st.integers(1, 200),
    resolution=st.sampled_from([64, 128, 512, 768]),
    on_cpu=st.booleans(),
)
def test_settings_reach_the_loop(values: dict[str, Any], pictures: int, resolution: int, on_cpu: bool) -> None:
    chosen = read(values)
    if chosen is None:
        return
    decided = {each.name: each.value for each in derive(chosen, pictures, resolution, on_cpu)}
    assert not decided.keys() & {name for name in values if values[name] is not None}
    full = chosen.model_copy(update=decided)
    plan = Job(full, {"lora": LoRAConfig()}, None, [], [], []).plan(Path("state"))  # type: ignore[arg-type]
    assert plan.run == ""  # of the folder's record, not of the settings, where it is a place
    for part in (plan, plan.objective):
        for name in ({field.name for field in dataclasses.fields(part)} & TrainSettings.model_fields.keys()) - {"run"}:
            expected = getattr(full, name)
            assert getattr(part, name) == (expected or None if name == "min_snr_gamma" else expected)
    assert plan.warmup_steps < plan.steps or chosen.warmup_steps is not None


def test_what_is_declared_here_and_there_agrees() -> None:
    assert read_request(Drawing(prompt="a")) == Request("a")
    fields = TrainSettings.model_fields
    assert set(get_args(fields["optimizer"].annotation)) == OPTIMIZERS.keys()
    assert set(get_args(fields["schedule"].annotation)) == SCHEDULES.keys()
    plan = Plan(steps=1)
    for name in ("save_every", "seed", "optimizer", "schedule", "gradient_accumulation", "gradient_checkpointing",
                 "max_grad_norm"):  # fmt: skip
        assert fields[name].default == getattr(plan, name)
    for field in dataclasses.fields(Objective):
        default = fields[field.name].default
        assert default == getattr(plan.objective, field.name) or (default is None and field.name == "weighting")


def test_where_the_last_timestep_is_pure_noise_another_weighting_is_chosen() -> None:
    """One that acts there: every weight made of the signal-to-noise ratio is exactly 0 at a ratio of 0."""
    settings = TrainSettings(images=Path("x"), keyword="zqvx")
    for ends_in_noise in (False, True):
        chosen = {each.name: each for each in derive(settings, 24, 128, True, ends_in_noise=ends_in_noise)}["weighting"]
        assert chosen.value == ("none" if ends_in_noise else "min-snr")
        assert ("pure noise" in chosen.reason) == ends_in_noise
    terminal = torch.zeros(1)
    for kind in ("v_prediction", "flow"):
        weights = {name: float(loss_weights(terminal, kind, Objective(weighting=name))) for name in get_args(Weighting)}
        assert weights == {"min-snr": 0, "debiased": 0, "p2": 0, "none": 1}
    assert not [each for each in derive(settings.model_copy(update={"weighting": "p2"}), 24, 128, True)
                if each.name == "weighting"]  # fmt: skip


def test_every_setting_has_a_sentence() -> None:
    for command in verbs.SETTINGS.values():
        for field in command.model_fields.values():
            assert field.description
            assert field.description.endswith(".")


@pytest.mark.parametrize(
    ("pictures", "resolution", "on_cpu", "expected"),
    [
        (24, 128, True, {"resolution": 128, "crops": 0, "batch_size": 8, "steps": 192, "previews": 4}),
        (24, 512, True, {"resolution": 512, "crops": 1, "batch_size": 1, "steps": 2400, "previews": 1}),
        (24, 512, False, {"resolution": 512, "crops": 4, "batch_size": 2, "steps": 1200, "previews": 4}),
        (1, 512, True, {"batch_size": 1, "steps": 1000}),
        (500, 512, False, {"steps": 1500}),
        (1, 128, True, {"batch_size": 1, "steps": 1200}),
    ],
)
def test_derived_settings(pictures: int, resolution: int, on_cpu: bool, expected: dict[str, int]) -> None:
    settings = TrainSettings(images=Path("x"), keyword="zqvx")
    chosen = derive(settings, pictures, resolution, on_cpu)
    found = {each.name: each.value for each in chosen}
    assert {name: found[name] for name in expected} == expected
    assert all(each.reason for each in chosen)
    assert all(getattr(settings.model_copy(update=found), name) is not None for name in found)


@pytest.mark.parametrize(
    ("keyword", "name"),
    [("zqvx", "zqvx"), ("my dog", "my_dog"), ("../../x", "x"), ("/", "subject"), (".h", "h"), ("é", "é")],
)
def test_the_keyword_becomes_a_file_name(keyword: str, name: str) -> None:
    settings = TrainSettings(images=Path("x"), keyword=keyword, models=Path("m"))
    assert default_out(settings) == Path("m/Lora") / f"{name}.safetensors"


def test_models_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIMNER_MODELS", "/somewhere")
    assert TrainSettings(images=Path("x"), keyword="k").models == Path("/somewhere")


@pytest.fixture(scope="module")
def write_docs() -> Any:
    path = ROOT / "scripts" / "write_docs.py"
    spec = importlib.util.spec_from_file_location("write_docs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_settings_is_up_to_date(write_docs: Any) -> None:
    page = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == write_docs.page(), "run scripts/write_docs.py"


def test_the_forms_of_methods_are_up_to_date(write_docs: Any) -> None:
    assert write_docs.FORMS.read_text(encoding="utf-8") == write_docs.method_forms(), "run scripts/write_docs.py"


def documents() -> list[Path]:
    return [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "notebooks" / "limner_colab.ipynb"]


def test_commands_in_documents_exist() -> None:
    """Every `limner VERB` and every option after it, in README, docs and notebook, is one that the program has."""
    checked = 0
    for path in documents():
        text = path.read_text(encoding="utf-8").replace('\\"', '"')
        for verb, rest in re.findall(rf"limner ({VERBS})\b([^`\n]*)", text):
            known = {name.replace("_", "-") for name in names(verbs.SETTINGS[verb])} | {"json", "quiet", "help"}
            known |= {"config", "set", "dry-run", "rank"} if verb in ("train", "dreambooth") else set()
            options = re.findall(r"(?<!\S)--([a-z-]+)", rest)
            assert set(options) <= known, (path, verb, options)
            checked += 1
    assert checked > 15


def test_the_readme_example_is_python() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    assert blocks
    for block in blocks:
        compile(block, "README.md", "exec")
