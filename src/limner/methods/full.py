"""Full fine-tuning: every weight of the UNet, and of the text encoders on request; with class images it is DreamBooth
(Ruiz et al. 2022, arXiv 2208.12242).

The weights that learn are float32 masters of the file's own precision. The model computes with them rounded to its
dtype, by the dithering of `applied.write_rounded`: in bfloat16 a step of 1e-5 is far below a unit of a weight of 0.02,
and rounded to nearest nothing would ever be learned.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor, nn

from limner.base.model import BaseModel, weights_of
from limner.base.open import full_precision
from limner.config import Settings, Usual
from limner.errors import UserError
from limner.methods import applied
from limner.methods.family import TEXT_LR_SCALE
from limner.methods.method import Method, ParamGroup
from limner.weights import Weights, whole

UPDATES, AVERAGE = "ema.updates", "ema."  # names in a run's state


class FullConfig(Settings):
    """What of the model is trained."""

    text_encoder: bool = Field(
        False, description="Train the text encoder too, of XL both, though not their vocabulary."
    )
    ema: Annotated[float, Usual(0.9, 0.9999, off=0)] = Field(
        0.0,
        ge=0,
        lt=1,
        description="Export a running average of the weights that keeps this share a step, as in 0.99; 0 for none.",
    )


@dataclass
class Master:
    """One tensor of the model and the float32 weights behind it, a matrix (out, all else) or a vector: so a factored
    optimizer finds rows and columns, and all that reads its numbers in a row is independent of the memory format."""

    parameter: nn.Parameter
    weights: nn.Parameter
    original: Tensor
    hook: Any = None
    average: Tensor | None = field(default=None)

    @staticmethod
    def of(parameter: nn.Parameter, full: Tensor) -> "Master":
        matrix = full.flatten(1) if full.dim() > 1 else full
        held = nn.Parameter(matrix.to(parameter.device, torch.float32, copy=True).contiguous())
        return Master(parameter, held, parameter.detach().clone())

    def attach(self) -> None:
        self.parameter.requires_grad_(True)
        self.hook = self.parameter.register_post_accumulate_grad_hook(self._take)
        self.write()

    def _take(self, parameter: Tensor) -> None:
        """Move a gradient to the master at once, so that no two copies of all of them are ever held."""
        assert parameter.grad is not None
        grad = parameter.grad.float().reshape(self.weights.shape)
        self.weights.grad = grad if self.weights.grad is None else self.weights.grad + grad
        parameter.grad = None

    def write(self) -> None:
        applied.write_rounded(self.parameter.detach(), self.weights.detach().clone())

    @torch.no_grad()
    def detach(self) -> None:
        if self.hook is not None:
            self.hook.remove()
            self.hook = None
            self.parameter.requires_grad_(False)
            self.parameter.grad = None
            self.parameter.copy_(self.original)


class Full(Method):
    """The UNet's weights themselves, and the text encoders' on request."""

    Config = FullConfig
    kind = "checkpoint"
    # The small one as measured on the pocket base, 100 steps of 8 on the bundled style (loss on held-out pictures and
    # drift of unrelated predictions): a LoRA at 1e-3 0.0396 and 0.079; this at 1e-5 0.0409 and 0.059, at 3e-5 0.0381
    # and 0.083, at 1e-4 0.0382 and 0.090, where it begins to learn by heart. The large one is DreamBooth's 5e-6.
    rates = (0.3, 0.1, 0.005)

    def __init__(self, config: FullConfig) -> None:
        self.config = config
        self.masters: dict[str, Master] = {}
        self._model: BaseModel | None = None
        self._updates = torch.zeros((), dtype=torch.int64)

    @property
    def trains_text(self) -> bool:
        return self.config.text_encoder

    def check(self, model: BaseModel) -> None:
        """Raise UserError for a family whose whole models no file of ours holds."""
        if model.family.denoiser != "unet":
            raise UserError(
                f"Limner writes no whole models of {model.family.title}, as {model.name} is; use --method lora or a "
                "base of Stable Diffusion 1.x, 2.x or XL"
            )

    def attach(self, model: BaseModel, seed: int = 0) -> list[ParamGroup]:
        encoders = [encoder.name for encoder in model.family.encoders] if self.config.text_encoder else []
        networks = [model.family.denoiser, *encoders]
        if any("forward" in module.__dict__ for module in model.denoiser.modules()):
            raise UserError("two methods would train the same layers; use one of them")
        self._model = model
        self.masters = {}
        groups = []
        for network in networks:
            full = full_precision(model, network)
            own = {path: Master.of(p, full[path]) for path, p in _trained(model.networks[network])}
            self.masters |= {f"{network}.{path}": master for path, master in own.items()}
            scale = TEXT_LR_SCALE if network in encoders else 1.0
            groups.append(ParamGroup(network, [master.weights for master in own.values()], scale))
        for master in self.masters.values():
            master.average = master.weights.detach().clone() if self.config.ema else None
            master.attach()
        return groups

    @torch.no_grad()
    def refresh(self) -> None:
        self._updates += 1
        # a young average is of what there is, not mostly of the base (as in Karras et al. 2022)
        keep = min(self.config.ema, float((1 + self._updates) / (10 + self._updates)))
        for master in self.masters.values():
            if master.average is not None:
                master.average.lerp_(master.weights, 1 - keep)
            master.write()

    def detach(self) -> None:
        for master in self.masters.values():
            master.detach()

    def weights(self) -> Weights:
        """The whole model, for a checkpoint holds all of it: what was trained, and the rest as the base has it."""
        model = self._model
        assert model is not None
        others = [
            each for each in model.networks if each != model.family.denoiser
        ]  # which is trained to the last weight
        weights = whole(model, others)
        weights.tensors = {name: tensor.clone() for name, tensor in weights.tensors.items()}
        for name, master in self.masters.items():
            learned = master.weights.detach() if master.average is None else master.average
            weights.tensors[name] = learned.cpu().clone().reshape(master.parameter.shape)
        return weights

    def state(self) -> dict[str, Tensor]:
        tensors: dict[str, Tensor] = {name: master.weights for name, master in self.masters.items()}
        if self.config.ema:
            tensors |= {f"{AVERAGE}{name}": m.average for name, m in self.masters.items() if m.average is not None}
            tensors[UPDATES] = self._updates
        return tensors

    @torch.no_grad()
    def load_state(self, tensors: Mapping[str, Tensor]) -> None:
        own = self.state()
        if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in tensors.items()}:
            raise UserError("the saved weights are of other settings or another base; start a new run")
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
        for master in self.masters.values():
            master.write()

    @staticmethod
    def apply(
        model: BaseModel, weights: Weights, unet_strength: float = 1.0, text_strength: float = 1.0
    ) -> Callable[[], None]:
        """Put a checkpoint's weights in the place of the model's; a strength of 0 is the model itself, others go
        that share of the way. A network that the checkpoint shares with the model is not touched.

        What is applied later is to be undone earlier. Raises UserError, with the model untouched, if it does not fit.
        """
        found = _places(model, weights)
        originals: list[tuple[Tensor, Tensor]] = []
        for network, pairs in found.items():
            strength = text_strength if network.startswith("text_encoder") else unet_strength
            if strength == 0 or all(torch.equal(new.to(old), old) for old, new in pairs):
                continue
            for old, new in pairs:
                originals.append((old, old.clone()))
                applied.write_rounded(old, torch.lerp(old.float(), new.to(old.device, torch.float32), strength))

        def undo() -> None:
            for place, original in originals:
                place.copy_(original)
            originals.clear()

        return undo


def _trained(network: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """A network's weights that learn; the vocabulary is left alone, as a word of it would change in every prompt."""
    for name, parameter in network.named_parameters():
        path = name.removeprefix("text_model.")
        if not path.startswith("embeddings."):  # which no UNet has
            yield path, parameter


def _places(model: BaseModel, weights: Weights) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """(the model's tensor, the checkpoint's) of each network. Raises UserError unless they fit."""
    if weights.kind != "checkpoint":
        raise UserError(f"the file holds {weights.kind} weights, not a checkpoint; use it as what it is")
    if weights.family != model.family.name:
        raise UserError(f"the checkpoint is for {weights.family}, but {model.name} is {model.family.name}")
    found: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for name, network in model.networks.items():
        if applied.in_use(network):
            raise UserError("a checkpoint cannot take the place of a model that has LoRAs in it; take them out first")
        for path, tensor in weights_of(network).items():
            new = weights.tensors.get(f"{name}.{path}")
            if new is None or new.shape != tensor.shape:
                raise UserError(
                    f"the checkpoint does not fit the base {model.name}: its {name}.{path} is missing or of another "
                    "shape; use it as a base of its own"
                )
            found.setdefault(name, []).append((tensor, new))
    return found
