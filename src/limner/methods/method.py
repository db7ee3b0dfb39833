"""The seam between the loop and what is learned: a method freezes, adds, and says what to optimise."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import isfinite
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from limner import diffusion
from limner.base.model import BaseModel
from limner.config import Settings, TrainSettings, nearest
from limner.data.batch import Batch
from limner.diffusion import Objective
from limner.errors import UserError
from limner.plugins import PlugIn, load, registered
from limner.weights import Weights

Loss = Callable[[BaseModel, Batch, torch.Generator, Objective | None], Tensor]


Rates = tuple[float, float, float]


@dataclass(frozen=True)
class ParamGroup:
    """Float32 parameters that share a learning rate, `lr_scale` times the run's."""

    name: str
    parameters: list[nn.Parameter]
    lr_scale: float = 1.0


class Method(PlugIn, ABC):
    """One way to teach a base model something. A subclass is one file and one entry point of "limner.methods".

    Config: the class of its settings; a field without a default has `examples`, of which tests take the first.
    kind: the kind of Weights that it makes. from_run: {a field of Config: the run's setting that stands in for it where
    it is left open}. needs_images: False if its loss takes nothing but the size from a batch.
    rates: its usual learning rates, times the optimizer's own: on a small base for an object and for a style, and on a
    large base. A value that cannot be meant is a TypeError when the class is made, as a name that nothing reads is.
    """

    Config: ClassVar[type[Settings]]
    kind: ClassVar[str]
    from_run: ClassVar[Mapping[str, str]] = {}
    needs_images: ClassVar[bool] = True
    rates: ClassVar[Rates] = (1.0, 1.0, 1.0)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not _are_rates(cls.rates):
            raise TypeError(
                f"{cls.__name__}.rates = {cls.rates!r} is not a tuple of three positive numbers: for an object and for "
                "a style on a small base, and for a large base"
            )
        if cls.needs_images not in (True, False):
            raise TypeError(f"{cls.__name__}.needs_images = {cls.needs_images!r} is neither True nor False")
        for own, of_run in cls.from_run.items():
            if own not in cls.Config.model_fields:
                raise TypeError(f"{cls.__name__}.from_run names {own!r}, which {cls.Config.__name__} does not have")
            if of_run not in TrainSettings.model_fields:
                near = nearest(of_run, TrainSettings.model_fields)
                meant = f"; did you mean {near!r}?" if near else ""
                raise TypeError(f"{cls.__name__}.from_run takes {of_run!r}, which is no setting of a training{meant}")

    @abstractmethod
    def __init__(self, config: Settings) -> None: ...

    @property
    def trains_text(self) -> bool:
        """Whether captions' states change as it learns, so that they cannot be encoded beforehand."""
        return False

    def check(self, model: BaseModel) -> None:
        """Raise UserError if these settings cannot be taught to this base; called before pictures are encoded."""

    @abstractmethod
    def attach(self, model: BaseModel, seed: int = 0) -> list[ParamGroup]:
        """Patch the model, reversibly, and return what to optimise; `seed` decides the initial values."""

    def loss(
        self, model: BaseModel, batch: Batch, generator: torch.Generator, objective: Objective | None = None
    ) -> Tensor:
        """What to minimise, a scalar: the diffusion loss of pictures, unless a method brings its own, as one of a run
        may. All that is random comes from `generator`."""
        return diffusion.loss(model, batch, generator, objective)

    @abstractmethod
    def refresh(self) -> None:
        """Bring the model up to date with the parameters: called after each change of them."""

    @abstractmethod
    def detach(self) -> None:
        """Leave the base as it was, bit for bit. What was learned stays in `weights()`."""

    @abstractmethod
    def weights(self) -> Weights:
        """What was learned, in the neutral form, in float32; its tensors are copies."""

    @abstractmethod
    def state(self) -> dict[str, Tensor]:
        """The tensors from which a run goes on: live references, by stable names."""

    @abstractmethod
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        """Take back what `state` gave, after `attach`. Raises UserError if it is of other settings or another base."""

    @staticmethod
    @abstractmethod
    def apply(
        model: BaseModel, weights: Weights, unet_strength: float = 1.0, text_strength: float = 1.0
    ) -> Callable[[], None]:
        """Use finished weights on a model; the function returned undoes it."""


def methods() -> dict[str, type[Method]]:
    """Every method there is, by name: those of Limner and of any package with an entry point in "limner.methods"."""
    return {name: load(entry, Method) for name, entry in registered("limner.methods").items()}


def apply_weights(
    model: BaseModel, weights: Weights, unet_strength: float = 1.0, text_strength: float = 1.0
) -> Callable[[], None]:
    """Use finished weights of any kind, by a method that makes that kind, and the words that they bring along.

    The function returned undoes it. Raises UserError, with the model untouched, if they do not fit.
    """
    ways = {method.kind: method for method in methods().values()}
    if weights.kind not in ways:
        raise UserError(f"no method here uses {weights.kind} weights; install the package that made the file")
    with ExitStack() as undo:
        undo.callback(ways[weights.kind].apply(model, weights, unet_strength, text_strength))
        for name, vectors in weights.words.items():
            if name not in model.words:  # a file of its own, or one in training, goes before
                undo.callback(model.words.add(name, vectors))
        return undo.pop_all().close


def find_methods(names: str) -> dict[str, type[Method]]:
    """The methods of a run, "embedding+lora" for two trained together. Raises UserError."""
    parts = names.split("+")
    if len(set(parts)) < len(parts):
        raise UserError(f"the method {names!r} names {max(parts, key=parts.count)} twice; say it once")
    found = {name: find_method(name) for name in parts}
    kinds = {method.kind: name for name, method in found.items()}
    if {"checkpoint", "lora"} <= kinds.keys():
        raise UserError(
            f"the methods {kinds['checkpoint']} and {kinds['lora']} would move the same layers; use one of them"
        )
    return found


def usual_rates(methods: Iterable[type[Method]]) -> Rates:
    """The rates of methods that are trained together: for each case the lowest of theirs, which none of them is spoiled
    by."""
    small_object, small_style, large = (min(rates) for rates in zip(*(method.rates for method in methods), strict=True))
    return small_object, small_style, large


def _are_rates(value: object) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 3
        and all(
            isinstance(rate, int | float) and not isinstance(rate, bool) and rate > 0 and isfinite(rate)
            for rate in value
        )
    )


def loss_of(methods: Sequence[Method]) -> Loss:
    """What these methods minimise together. Raises UserError if more than one brings a loss of its own."""
    own = [method for method in methods if type(method).loss is not Method.loss]
    if len(own) > 1:
        names = " and ".join(type(method).__name__ for method in own)
        raise UserError(f"{names} each bring their own loss and cannot be trained together; choose one of them")
    return own[0].loss if own else diffusion.loss


def find_method(name: str) -> type[Method]:
    """A method by name. Raises UserError that names the nearest."""
    known = methods()
    if name not in known:
        raise UserError(f"no method {name!r}; use {nearest(name, known) or ' or '.join(sorted(known))}")
    return known[name]
