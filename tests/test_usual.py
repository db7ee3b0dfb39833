"""Numbers far outside of what makes sense are questioned, and those that can only fail refused."""

import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic.fields import FieldInfo

from limner.cli import verbs
from limner.config import Drawing, Settings, TrainSettings, usual_range
from limner.errors import UserError
from limner.methods.lora import LoRA, LoRAConfig
from limner.methods.method import methods
from limner.prompt import parse_prompt
from limner.run.derive import unusual
from limner.studio.forms import form

# Any is as good as another, or it is no quantity.
ANY = {"seed", "class_seed", "subseed", "port"}


def is_number(field: FieldInfo) -> bool:
    several = get_origin(field.annotation) in (Union, types.UnionType)
    options = get_args(field.annotation) if several else (field.annotation,)
    return {int, float} & set(options) != set() and not {bool} & set(options)


def questions(values: dict[str, Any], base_resolution: int = 512) -> list[str]:
    tables = {"lora": LoRAConfig.read(values.pop("lora", {}), "test")}
    return list(unusual(TrainSettings.read(values, "test"), tables, base_resolution, LoRA.rates))


def declared() -> Iterator[tuple[str, type[Settings], str]]:
    trained = [TrainSettings, Drawing, *(method.Config for method in methods().values())]
    for settings in {*trained, *(each for each in verbs.SETTINGS.values() if issubclass(each, Drawing))}:
        for name, field in settings.model_fields.items():
            if is_number(field) and name not in ANY:
                yield f"{settings.__name__}.{name}", settings, name


def test_every_number_declares_what_is_usual() -> None:
    missing = [full for full, settings, name in declared() if usual_range(settings.model_fields[name]) is None]
    assert not missing


def test_defaults_are_usual() -> None:
    for full, settings, name in declared():
        usual, default = usual_range(settings.model_fields[name]), settings.model_fields[name].default
        assert not isinstance(default, int | float) or (usual is not None and usual.holds(default)), full


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"learning_rate": 0.5}, "learning_rate = 0.5"),
        ({"learning_rate": 1e-9}, "learning_rate = 1e-09"),
        ({"optimizer": "prodigy", "learning_rate": 30.0}, "learning_rate = 30"),
        ({"steps": 900_000}, "steps = 900000"),
        ({"batch_size": 1000}, "batch_size = 1000"),
        ({"resolution": 64}, "resolution = 64"),
        ({"resolution": 4096}, "resolution = 4096"),
        ({"min_snr_gamma": 0.01}, "min_snr_gamma = 0.01"),
        ({"caption_dropout": 0.9}, "caption_dropout = 0.9"),
        ({"max_grad_norm": float("inf")}, "max_grad_norm = inf"),
        ({"lora": {"rank": 1024}}, "lora.rank = 1024"),
    ],
)
def test_the_unusual_is_questioned_with_what_is_usual(values: dict[str, Any], named: str) -> None:
    (question,) = questions(values)
    assert named in question
    assert "the usual" in question


def test_the_usual_is_not() -> None:
    assert not questions({"learning_rate": 1e-4, "steps": 2000, "resolution": 768, "min_snr_gamma": 0, "batch_size": 4})
    assert not questions({"optimizer": "prodigy", "learning_rate": 1.0, "lora": {"rank": 64, "alpha": 32}})
    assert "resolution = 512 is far from the usual 683 to 1536" in questions({"resolution": 512}, 1024)[0]


@pytest.mark.parametrize("rate", [1.0, 3.0, 5.0])
def test_a_learning_rate_that_can_only_fail_is_refused(rate: float) -> None:
    with pytest.raises(UserError, match="can only destroy"):
        questions({"learning_rate": rate})


def test_in_prompts_and_forms() -> None:
    (tag,) = parse_prompt("a dog <lora:x:50>").loras
    assert "<lora:x:50> is far from the usual -3 to 3" in "".join(tag.questions())
    assert not [*parse_prompt("a dog <lora:x:-1.5>").loras[0].questions()]
    assert list(Drawing(prompt="a", cfg_scale=100, steps=10_000_000).questions())
    fields = {each["name"]: each for section in form(TrainSettings) for each in section["fields"]}
    assert fields["batch_size"]["usual"] == [1, 64]
    assert fields["min_snr_gamma"]["off"] == 0
