"""The seam between the loop and what is learned: a method freezes, adds, and says what to optimise."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import ClassVar

from torch import Tensor, nn

from limner.base.model import BaseModel
from limner.config import Settings, nearest
from limner.errors import UserError
from limner.weights import Weights


@dataclass(frozen=True)
class ParamGroup:
    """Float32 parameters that share a learning rate, `lr_scale` times the run's."""

    name: str
    parameters: list[nn.Parameter]
    lr_scale: float = 1.0


class Method(ABC):
    """One way to teach a base model something. A subclass is one file and one entry point of "limner.methods".

    Config: the class of its settings. kind: the kind of Weights that it makes.
    """

    Config: ClassVar[type[Settings]]
    kind: ClassVar[str]

    @abstractmethod
    def __init__(self, config: Settings) -> None: ...

    @abstractmethod
    def attach(self, model: BaseModel, seed: int = 0) -> list[ParamGroup]:
        """Patch the model, reversibly, and return what to optimise; `seed` decides the initial values."""

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
    return {entry.name: entry.load() for entry in entry_points(group="limner.methods")}


def find_method(name: str) -> type[Method]:
    """A method by name. Raises UserError that names the nearest."""
    known = methods()
    if name not in known:
        raise UserError(f"no method {name!r}; use {nearest(name, known) or ' or '.join(sorted(known))}")
    return known[name]
