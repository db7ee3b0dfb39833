"""What the methods of the LoRA family share: their layers, their settings, and the way from parameters to a file."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal, TypeVar

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from limner.base.model import BaseModel, text_core
from limner.config import Settings, Usual
from limner.device import generator
from limner.errors import UserError
from limner.methods import applied
from limner.methods.adapter import Adapter
from limner.methods.form import Form
from limner.methods.method import Method, ParamGroup
from limner.weights import Weights

Value = TypeVar("Value")
Layers = Literal["attention", "attention+mlp", "all"]

# As Civitai's trainer has it: 5e-5 against 5e-4. A text encoder forgets sooner than it helps.
TEXT_LR_SCALE = 0.1


class AdapterConfig(Settings):
    """What every method of the family can be told."""

    layers: Layers = Field(
        "attention+mlp",
        description="Layers of the UNet: attention, attention+mlp, or all, which adds the convolutions.",
    )
    text_encoder: bool = Field(False, description="Train the text encoder too; of XL both.")
    rates: dict[str, float] = Field(
        default_factory=dict,
        description="Times the learning rate by pattern of layers, as in {'unet.up_blocks.*' = 0.5}; first counts.",
    )

    @field_validator("rates")
    @classmethod
    def _positive(cls, rates: dict[str, float]) -> dict[str, float]:
        if any(not 0 < rate < float("inf") for rate in rates.values()):
            raise ValueError("a rate must be more than 0; to leave layers out give them rank 0")
        return rates


class RankedConfig(AdapterConfig):
    """What every method is told whose change is made of thin matrices."""

    rank: Annotated[int, Usual(1, 256)] = Field(
        16, ge=1, le=1024, description="Width of the two matrices; 8 to 16 are enough for one subject."
    )
    alpha: Annotated[float, Usual(0.1, 256)] = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="The change is scaled by alpha / rank; at 1 a learning rate suits any rank.",
    )
    ranks: dict[str, int] = Field(
        default_factory=dict,
        description="Other ranks, by pattern of layers, as in {'unet.mid_block.*' = 4}; 0 leaves layers out.",
    )

    @field_validator("ranks")
    @classmethod
    def _ranks(cls, ranks: dict[str, int]) -> dict[str, int]:
        if any(not 0 <= rank <= 1024 for rank in ranks.values()):
            raise ValueError("a rank must be from 0 to 1024")
        return ranks


class Adapters(Method):
    """Changes of linear and convolution layers, in float32 over a frozen base of any precision.

    A subclass says by `form` what a change is, and by `start` how it begins.
    """

    kind = "lora"
    rates = (5.0, 1.0, 1.0)  # docs/defaults.md has the measurements
    form: ClassVar[type[Form]]
    apply = staticmethod(applied.apply)

    def __init__(self, config: AdapterConfig) -> None:
        self.config = config
        self.adapters: dict[str, Adapter] = {}
        self._family = ""

    @abstractmethod
    def start(self, name: str, weight: Tensor, random: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The leaves to learn, at their initial values, and the settings that a file holds beside them, for the layer
        `name` of this weight. What they stand for must be no change at all."""

    @property
    def trains_text(self) -> bool:
        return self.config.text_encoder

    def targets(self, model: BaseModel) -> Iterator[tuple[str, nn.Module]]:
        """(neutral name, module) of every layer to adapt."""
        ranks = getattr(self.config, "ranks", {})
        found = targets(model, self.config.layers, self.config.text_encoder)
        return ((name, module) for name, module in found if _first(ranks, name, 1) > 0)

    def check(self, model: BaseModel) -> None:
        """Raise UserError if a pattern of the settings means no layer, or all are left out."""
        names = [name for name, _ in targets(model, self.config.layers, self.config.text_encoder)]
        for pattern in [*self.config.rates, *getattr(self.config, "ranks", {})]:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise UserError(
                    f"the pattern {pattern!r} means no layer that is trained; their names are like {names[0]}, "
                    "and * stands for anything"
                )
        if not any(self.targets(model)):
            raise UserError("no layer is left to train; give some of them a rank above 0")

    def attach(self, model: BaseModel, seed: int = 0) -> list[ParamGroup]:
        self.check(model)
        self._family = model.family.name
        chosen = dict(self.targets(model))
        if any("forward" in module.__dict__ for module in chosen.values()):
            raise UserError("two methods would train the same layers; use one of them")
        random = generator(seed)
        self.adapters = {name: self.adapter(name, module, random) for name, module in chosen.items()}
        return self._groups()

    def adapter(self, name: str, module: nn.Module, random: torch.Generator) -> Adapter:
        """The adapter of one layer."""
        return Adapter(self.form, module, *self.start(name, applied.weight_of(module), random))

    def leaf_rate(self, leaf: str) -> float:
        """Times the learning rate of the others, for one leaf of every layer."""
        return 1.0

    def _groups(self) -> list[ParamGroup]:
        """One group for each rate in each network, in the order of the layers."""
        groups: dict[tuple[str, float], list[nn.Parameter]] = {}
        for name, adapter in self.adapters.items():
            network = name.partition(".")[0]
            scale = (TEXT_LR_SCALE if network.startswith("text_encoder") else 1.0) * _first(
                self.config.rates, name, 1.0
            )
            for leaf, parameter in adapter.learned.items():
                groups.setdefault((network, scale * self.leaf_rate(leaf)), []).append(parameter)
        return [ParamGroup(network, parameters, scale) for (network, scale), parameters in groups.items()]

    def refresh(self, strength: float = 1.0) -> None:
        """Have the model compute, and gradients be taken, with `strength` times the change."""
        for adapter in self.adapters.values():
            adapter.refresh(strength)

    def detach(self) -> None:
        for adapter in self.adapters.values():
            adapter.detach()

    def weights(self) -> Weights:
        tensors = {
            f"{name}.{leaf}": tensor.detach().cpu().clone()
            for name, adapter in self.adapters.items()
            for leaf, tensor in adapter.leaves().items()
        }
        return Weights("lora", self._family, dict(sorted(tensors.items())))

    def state(self) -> dict[str, Tensor]:
        return {
            f"{name}.{leaf}": parameter
            for name, adapter in self.adapters.items()
            for leaf, parameter in adapter.learned.items()
        }

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        own = self.state()
        if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in tensors.items()}:
            raise UserError("the saved state is of other layers or ranks than these settings; start a new run")
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        self.refresh()


class Ranked(Adapters):
    """A family member with a rank and an alpha."""

    config: RankedConfig

    def rank(self, name: str) -> int:
        """The rank of the layer `name`."""
        return _first(self.config.ranks, name, self.usual_rank(name))

    def usual_rank(self, name: str) -> int:
        """Its rank where no pattern says another."""
        return self.config.rank

    def alpha(self) -> Tensor:
        return torch.tensor(self.config.alpha)


def _first(table: Mapping[str, Value], name: str, default: Value) -> Value:
    """The value of the first pattern that a name matches."""
    return next((value for pattern, value in table.items() if fnmatchcase(name, pattern)), default)


def targets(model: BaseModel, layers: Layers, text_encoder: bool) -> Iterator[tuple[str, nn.Module]]:
    """(neutral name, module) of every layer that these settings mean.

    "attention": q, k, v, out of all attentions; "attention+mlp" adds the feed-forward layers and proj_in, proj_out, so
    that it is every linear and 1x1 convolution inside the transformers, as sd-scripts trains; "all" adds the
    convolutions and embeddings' linear layers of the residual blocks and samplers. Of every text encoder always q, k,
    v, out, fc1 and fc2: readers refuse files with a part of them.
    """
    for path, module in model.denoiser.named_modules():
        if isinstance(module, nn.Linear | nn.Conv2d) and is_chosen(path, layers):
            yield f"{model.family.denoiser}.{path}", module
    for encoder in model.family.encoders if text_encoder else ():
        for path, module in text_core(model.networks[encoder.name]).named_modules():
            if isinstance(module, nn.Linear) and path.startswith("encoder.layers."):
                yield f"{encoder.name}.{path}", module


def is_chosen(path: str, layers: Layers) -> bool:
    """Whether a linear layer or convolution of the UNet or transformer is meant, by its path."""
    parts = path.split(".")
    if parts[0] == "transformer_blocks":  # nothing but attention and the layers behind it, and norms that text moves
        return "attn" in parts or "attn2" in parts or (layers != "attention" and bool({"ff", "ff_context"} & {*parts}))
    if "attentions" in parts:
        return layers != "attention" or "attn1" in parts or "attn2" in parts
    return layers == "all" and any(part in parts for part in ("resnets", "downsamplers", "upsamplers"))
