"""The functions of the package take the settings of the commands of their names: all of them, and no others."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import limner
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.cli.verbs import SETTINGS
from limner.config import LoadSettings
from limner.errors import UserError
from limner.events import Event, Saved, Started
from limner.methods.method import methods

# Those who are given a model are not asked how to open one, and those who return images do not write them.
OF_A_MODEL = set(LoadSettings.model_fields)
LEFT_OUT = {"generate": OF_A_MODEL | {"out"}, "evaluate": OF_A_MODEL, "keyword": OF_A_MODEL | {"out"}}
WRONG = object()


@pytest.fixture(scope="module")
def model(flat_folder: Path) -> BaseModel:
    return open_base(flat_folder, torch.device("cpu"), torch.float32)


def calls(model: BaseModel) -> dict[str, Callable[..., Any]]:
    """Each function with what it cannot do without, unless that is given."""

    def call(name: str, *first: Any, **needed: Any) -> Callable[..., Any]:
        return lambda **given: getattr(limner, name)(*first, **(needed | given))

    return {
        "compare": call("compare", images="x", keyword="zqvx"),
        "convert": call("convert", file="x", out="y"),
        "dreambooth": call("dreambooth", images="x", keyword="zqvx"),
        "evaluate": call("evaluate", model, file="x", images="y"),
        "extract": call("extract", tuned="x", base="y", out="z"),
        "generate": call("generate", model, prompt="x"),
        "inspect": call("inspect", file="x"),
        "keyword": call("keyword", model, keyword="zqvx"),
        "load": call("load"),
        "merge": call("merge", base="x", out="y", lora=("z",)),
        "prepare": call("prepare", images="x", out="y"),
        "resize": call("resize", lora="x", out="y"),
        "resume": lambda **given: limner.resume(given.pop("run", "x"), **given),
        "train": call("train", images="x", keyword="zqvx"),
    }


def test_there_is_a_call_for_every_function() -> None:
    assert set(calls(None)) == set(limner.__all__)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", limner.__all__)
def test_every_setting_of_the_command_is_taken_and_a_wrong_value_is_named(name: str, model: BaseModel) -> None:
    call, settings = calls(model)[name], SETTINGS.get(name, LoadSettings)
    for field, info in settings.model_fields.items():
        with pytest.raises(UserError) as caught:
            call(**{field: WRONG})
        said = str(caught.value)
        if field in LEFT_OUT.get(name, ()):
            assert f"{field} is not a setting here; " in said
        else:
            assert f"{info.alias or field} = <object" in said or f"{field} = <object" in said, said


@pytest.mark.parametrize("name", limner.__all__)
def test_a_misspelt_setting_is_an_error_with_the_right_name(name: str, model: BaseModel) -> None:
    settings = SETTINGS.get(name, LoadSettings)
    field = next(each for each in settings.model_fields if each not in LEFT_OUT.get(name, ()))
    with pytest.raises(UserError, match=f"unknown setting '{field}z'"):
        calls(model)[name](**{f"{field}z": 1})


def test_the_right_name_of_a_misspelt_setting_is_the_run_s_or_the_method_s() -> None:
    for wrong, right in {"stpes": "steps", "rnak": "rank", "alhpa": "alpha", "klass": "class"}.items():
        with pytest.raises(UserError, match=f"unknown setting '{wrong}'; did you mean '{right}'?"):
            limner.train("x", "zqvx", **{wrong: 1})


@pytest.mark.parametrize("name", sorted(methods()))
def test_the_method_s_own_settings_are_taken_side_by_side_with_the_run_s(name: str) -> None:
    of_run = SETTINGS["train"].model_fields
    for field in methods()[name].Config.model_fields:
        if field in of_run:
            continue
        needed = {"positive": "a cat"} if "positive" in methods()[name].Config.model_fields else {}
        for given in (needed | {field: WRONG}, {name: needed | {field: WRONG}}):
            with pytest.raises(UserError, match=rf"{field} = <object"):
                list(limner.train("x" if methods()[name].needs_images else None, "zqvx", method=name, **given))


def test_settings_of_methods_that_cannot_be_meant_are_said() -> None:
    wrong: dict[str, dict[str, Any]] = {
        "unknown setting 'rank' of the method embedding; dora, locon, ": {"method": "embedding", "rank": 4},
        "rank is given twice, by itself and in ": {"rank": 4, "lora": {"rank": 8}},
        "lora = 8 will not do: it is a table": {"lora": 8},
        "unknown setting 'rnk'; did you mean 'rank'": {"lora": {"rnk": 4}},
        "unknown table .lokr.": {"lokr": {"rank": 4}},
        "no method 'lroa'; use lora": {"method": "lroa", "rank": 4},
    }
    for said, given in wrong.items():
        with pytest.raises(UserError, match=said):
            list(limner.train("x", "zqvx", **given))


@pytest.mark.parametrize("model", ["pocket", None])
def test_what_is_no_model_is_refused(model: Any) -> None:
    for call in (limner.generate, limner.keyword, limner.evaluate):
        with pytest.raises(UserError, match=r"give the model that limner\.load returns"):
            call(model, "x", "y") if call is limner.evaluate else call(model, "x")


def test_rank_and_alpha_reach_the_file_and_a_stopped_run_goes_on(tmp_path: Path, tiny_folder: Path) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.effect_noise((70, 70), 60).convert("RGB").save(photos / "a.png")
    out, run = tmp_path / "zqvx.safetensors", tmp_path / "run"
    values = {"base": str(tiny_folder), "cache": tmp_path / "cache", "device": "cpu", "precision": "fp32"}
    values |= {"steps": 2, "resolution": 64, "previews": 0, "save_every": 1, "out": out, "run": run}
    events = limner.train(photos, "zqvx", rank=3, alpha=2.0, ranks={"unet.mid_block.*": 0}, **values)
    seen: list[type[Event]] = []
    for event in events:
        seen.append(type(event))
        if isinstance(event, Saved):
            break
    events.close()
    assert Started in seen
    list(limner.resume(run))
    tensors = load_file(out)
    assert {tensor.shape[0] for name, tensor in tensors.items() if name.endswith("lora_down.weight")} == {3}
    assert {float(tensor) for name, tensor in tensors.items() if name.endswith("alpha")} == {2.0}
    assert not any("mid_block" in name for name in tensors)
