"""What a plug-in class may declare: names that are read, and values that can be meant; and whose fault it is if not."""

from importlib.metadata import EntryPoint
from typing import Any, ClassVar

import pytest

from limner import plugins
from limner.captions.captioner import Captioner, captioners, find_captioner
from limner.cli import main
from limner.errors import UserError
from limner.formats import formats
from limner.formats.format import Format
from limner.formats.kohya import Kohya
from limner.methods.family import Adapters
from limner.methods.form import Form, forms
from limner.methods.loha import HadamardForm, LoHa
from limner.methods.lora import LoRA
from limner.methods.method import Method, methods


def define(base: type, **declared: Any) -> type:
    return type(base)("Mine", (base,), declared)


@pytest.mark.parametrize(
    ("base", "declared", "said"),
    [
        (LoHa, {"rate": 1.0}, "Mine.rate is read by nothing; did you mean 'rates'?"),
        (LoHa, {"rate": 1.0, "__annotations__": {"rate": float}}, "Mine.rate is read by nothing"),
        (Adapters, {"rate": 1.0}, "Mine.rate is read by nothing; did you mean 'rates'?"),  # abstract still
        (Method, {"need_images": False}, "did you mean 'needs_images'?"),
        (LoRA, {"leaf_rates": lambda self, leaf: 2.0}, "did you mean 'leaf_rate'?"),
        (LoRA, {"train_text": property(lambda self: True)}, "did you mean 'trains_text'?"),
        (LoRA, {"helper": lambda self: 2.0}, "if it is your own, call it '_helper'"),
        (Captioner, {"gives_tag": True}, "did you mean 'gives_tags'?"),
        (find_captioner("pixels"), {"in_worker": True}, "did you mean 'in_workers'?"),
        (Kohya, {"sniffs": staticmethod(bool)}, "did you mean 'sniff'?"),
        (Format, {"beides": 1}, "did you mean 'beside'?"),
        (HadamardForm, {"mark": ("a",)}, "did you mean 'marks'?"),
        (LoHa, {"rates": 3.0}, "is not a tuple of three positive numbers"),
        (LoHa, {"rates": (1.0, 1.0)}, "is not a tuple of three positive numbers"),
        (LoHa, {"rates": (1.0, 0.0, 1.0)}, "is not a tuple of three positive numbers"),
        (LoHa, {"needs_images": "no"}, "is neither True nor False"),
        (LoHa, {"from_run": {"rnak": "steps"}}, "from_run names 'rnak', which LoHaConfig does not have"),
        (LoHa, {"from_run": {"rank": "stpes"}}, "no setting of a training; did you mean 'steps'?"),
        (HadamardForm, {"marks": "hada_w1_a"}, "is not a tuple of its leaves"),
        (HadamardForm, {"needs": ("hada_w9",)}, "is not a tuple of its leaves"),
    ],
)
def test_what_nothing_reads_is_an_error_with_the_nearest_name(base: type, declared: dict[str, Any], said: str) -> None:
    with pytest.raises(TypeError) as caught:
        define(base, **declared)
    assert said in str(caught.value)


def test_what_is_read_or_one_s_own_is_allowed() -> None:
    define(LoHa, rates=(1.0, 2.0, 3.0), _rate=1.0, leaf_rate=lambda self, leaf: 2.0)

    class Base(Adapters):
        """Abstract still: what it adds is for those that derive from it."""

        speed: ClassVar[float] = 1.0

        def faster(self) -> float:
            return 2 * self.speed

    with pytest.raises(TypeError, match=r"Mine\.sped is read by nothing; did you mean 'speed'"):
        define(Base, sped=2.0, start=lambda *_: ({}, {}))
    assert define(Base, speed=2.0, start=lambda *_: ({}, {})).speed == 2.0  # type: ignore[attr-defined]


def test_all_that_are_registered_are_of_their_kind() -> None:
    assert all(issubclass(each, Method) for each in methods().values())
    assert all(issubclass(each, Form) for each in forms().values())
    assert all(issubclass(each, Format) for each in formats().values())
    assert all(issubclass(find_captioner(name), Captioner) for name in captioners())


class NoMethod:
    """What an entry point may name by mistake."""


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("nobody.here:Gain", r"gain of the package nobody\.here cannot be used \(ModuleNotFoundError"),
        ("test_plugins:NoMethod", r"NoMethod is not a subclass of limner\.methods\.method\.Method"),
        ("limner.methods.family:Adapters", "Adapters has no __init__|Adapters has no start"),
    ],
)
def test_a_package_that_cannot_be_used_is_named(value: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "entry_points", lambda group: [EntryPoint("gain", value, group)])
    with pytest.raises(UserError, match=said):
        methods()


def test_two_packages_of_one_name_are_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    both = [EntryPoint("gain", f"{package}:Gain", "limner.methods") for package in ("one", "other")]
    monkeypatch.setattr(plugins, "entry_points", lambda group: both)
    assert main(["train", "x", "--keyword", "zqvx", "--method", "gain"]) == 2
    assert "one and other both bring 'gain' for limner.methods; uninstall one of them" in capsys.readouterr().err
