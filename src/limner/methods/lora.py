"""LoRA (Hu et al. 2021, arXiv 2106.09685): the change of a weight is a product of two thin matrices.

W' = W + alpha / rank * up @ down, with `down` (rank, in[, k, k]) and `up` (out, rank[, 1, 1]).
"""

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from limner.base.model import BaseModel
from limner.config import Usual
from limner.errors import UserError
from limner.methods import applied
from limner.methods.adapter import Adapter
from limner.methods.applied import apply
from limner.methods.family import Layers, Ranked, RankedConfig
from limner.methods.form import BIAS, Form, Leaves, Part, Shape, is_number, scale, tucker
from limner.methods.lowrank import LowRank
from limner.methods.method import ParamGroup
from limner.methods.principal import compressed, principal
from limner.weights import Weights

__all__ = ["Layers", "LoRA", "LoRAConfig", "LowRankForm", "apply"]


class LowRankForm(Form):
    """alpha / rank * up @ down; files of others may put a core (rank, rank, k, k) between the two."""

    name = "lora"
    leaves: ClassVar[Mapping[str, str]] = {
        "lora_down": "lora_down.weight",
        "lora_up": "lora_up.weight",
        "lora_mid": "lora_mid.weight",
        "alpha": "alpha",
    } | BIAS
    marks = ("lora_down", "lora_up")
    needs = ("lora_down", "lora_up")

    @classmethod
    def fits(cls, leaves: Leaves, shape: Shape | None = None) -> bool:
        down, up, core = leaves["lora_down"], leaves["lora_up"], leaves.get("lora_mid")
        if min(down.dim(), up.dim()) < 2 or not is_number(leaves) or not down.numel():
            return False
        if core is not None and core.shape[:2] != (up[0].numel(), down.shape[0]):
            return False
        if core is None and up[0].numel() != down.shape[0]:
            return False
        row = math.prod(down.shape[1:]) if core is None else down.shape[1] * math.prod(core.shape[2:])
        return shape is None or (up.shape[0] == shape[0] and row == math.prod(shape[1:]))

    @classmethod
    def change(cls, weight: Tensor, leaves: Leaves) -> Tensor:
        down, up = leaves["lora_down"], leaves["lora_up"]
        if "lora_mid" in leaves:
            product = tucker(leaves["lora_mid"], up.flatten(1).t(), down.flatten(1))
        else:
            product = up.flatten(1) @ down.flatten(1)
        return scale(leaves, down.shape[0]) * product.view(weight.shape)

    @classmethod
    def rank(cls, leaves: Leaves) -> int:
        return leaves["lora_down"].shape[0]

    @classmethod
    def add(cls, total: Tensor, weight: Tensor, leaves: Leaves, strength: float) -> Tensor:
        if "lora_mid" in leaves:
            return super().add(total, weight, leaves, strength)
        low, high = (leaves[leaf].flatten(1) for leaf in ("lora_down", "lora_up"))
        return torch.addmm(total, high, low, alpha=strength * scale(leaves, low.shape[0]))


class LoRAConfig(RankedConfig):
    """What a LoRA is made of."""

    rank_stabilised: bool = Field(
        False, description="Scale by alpha / the root of rank instead (rsLoRA); other programs are told a larger alpha."
    )
    initial: Literal["random", "principal"] = Field(
        "random",
        description="How it starts: random, or principal, at the weight's own main directions (PiSSA; twice the file).",
    )
    up_rate: Annotated[float, Usual(1, 32)] = Field(
        1.0,
        gt=0,
        allow_inf_nan=False,
        description="Times the learning rate for the second matrix, as in 16 (LoRA+); Prodigy has one rate for all.",
    )
    noisy_rank: Annotated[float, Usual(0.1, 1)] = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the rank that is used at the most noise, growing to all at the least (T-LoRA: 0.5).",
    )


class LoRA(Ranked):
    """Low-rank changes of linear and convolution layers."""

    Config = LoRAConfig
    form = LowRankForm
    config: LoRAConfig

    def __init__(self, config: LoRAConfig) -> None:
        super().__init__(config)
        self._hook: RemovableHandle | None = None

    def check(self, model: BaseModel) -> None:
        if self.config.initial == "principal" and self.config.noisy_rank < 1:
            raise UserError(
                "noisy_rank leaves directions out, which at a principal start are the base's own; use initial = random"
            )
        super().check(model)

    def attach(self, model: BaseModel, seed: int = 0) -> list[ParamGroup]:
        groups = super().attach(model, seed)
        if self.config.noisy_rank < 1:
            self._hook = self._mask_by_timestep(model)
        return groups

    def detach(self) -> None:
        super().detach()
        if self._hook is not None:
            self._hook.remove()

    def start(self, name: str, weight: Tensor, random: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        rank, alpha = self.rank(name), self.alpha()
        if self.config.rank_stabilised:
            alpha = alpha * rank**0.5
        if self.config.initial == "principal":
            down, up = principal(weight, rank, rank / float(alpha), random)
        else:
            down, up = no_change(weight, rank, random)
        return {"lora_down": down, "lora_up": up}, {"alpha": alpha}

    def adapter(self, name: str, module: nn.Module, random: torch.Generator) -> Adapter:
        learned, settings = self.start(name, applied.weight_of(module), random)
        base = {leaf: tensor.clone() for leaf, tensor in learned.items()} if self.config.initial == "principal" else {}
        return LowRankAdapter(module, learned, settings, base)

    def leaf_rate(self, leaf: str) -> float:
        return self.config.up_rate if leaf == "lora_up" else 1.0

    def weights(self) -> Weights:
        """The factors; of a principal start those of what is left when the start is taken away, of twice the rank.

        One program finds each layer's alpha by a pattern, and mixes up those that differ: so all get the first's.
        """
        weights = super().weights()
        modules = weights.modules()
        if self.config.initial == "principal":
            for name, adapter in self.adapters.items():
                assert isinstance(adapter, LowRankAdapter)
                modules[name] = compressed(modules[name], {leaf: t.cpu() for leaf, t in adapter.base.items()})
        shared = next(iter(modules.values()))["alpha"] if modules else torch.tensor(1.0)
        for leaves in modules.values():
            if leaves["alpha"] != shared:
                leaves["lora_up"] = leaves["lora_up"] * (leaves["alpha"] / shared)
                leaves["alpha"] = shared.clone()
        weights.tensors = {f"{name}.{leaf}": tensor for name, own in modules.items() for leaf, tensor in own.items()}
        return weights

    def state(self) -> dict[str, Tensor]:
        """Also a principal start, which another machine's arithmetic might not find again."""
        starts = {
            f"{name}.start_{leaf}": tensor
            for name, adapter in self.adapters.items()
            if isinstance(adapter, LowRankAdapter)
            for leaf, tensor in adapter.base.items()
        }
        return super().state() | starts

    def _mask_by_timestep(self, model: BaseModel) -> RemovableHandle:
        """T-LoRA (Soboleva et al. 2025, arXiv 2507.05964): the noisier an example, the fewer directions it uses."""
        last = len(model.alphas_cumprod)
        adapters = [self.adapters[name] for name in self.adapters if not name.startswith("text_encoder")]

        def note(unet: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            timesteps = given[1] if len(given) > 1 else named["timestep"]
            for adapter in adapters:
                assert isinstance(adapter, LowRankAdapter)
                adapter.keep(timesteps, last, self.config.noisy_rank)

        return model.denoiser.register_forward_pre_hook(note, with_kwargs=True)


def no_change(weight: Tensor, rank: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """(down, up) as sd-scripts begins: Kaiming's uniform with a = sqrt(5), and zeros."""
    bound = 1 / math.sqrt(weight[0].numel())
    down = torch.empty(rank, *weight.shape[1:]).uniform_(-bound, bound, generator=random)
    return down, torch.zeros(weight.shape[0], rank, *[1] * (weight.dim() - 2))


class LowRankAdapter(Adapter):
    """A layer's LoRA. base: a principal start, which is taken out of W, so that the start is no change.

    mask: 1 for each direction that an example of the batch uses, (batch, rank); None for all.
    """

    def __init__(
        self,
        layer: nn.Module,
        learned: Mapping[str, Tensor],
        settings: Mapping[str, Tensor],
        base: Mapping[str, Tensor] | None = None,
    ) -> None:
        weight = applied.weight_of(layer)
        self.base = {leaf: tensor.to(weight.device) for leaf, tensor in (base or {}).items()}
        self.mask: Tensor | None = None
        super().__init__(LowRankForm, layer, learned, settings)

    @property
    def down(self) -> nn.Parameter:
        return self.learned["lora_down"]

    @property
    def up(self) -> nn.Parameter:
        return self.learned["lora_up"]

    def parts(self) -> list[Part]:
        if not self.base:
            return super().parts()
        return [*super().parts(), Part(self.form, {**self.base, **self.settings}, -self.strength)]

    @torch.no_grad()
    def refresh(self, strength: float = 1.0) -> None:
        super().refresh(strength)
        self._scale = strength * scale(self.settings, self.down.shape[0])
        self._down = self.down.to(self.original.dtype)
        self._up = (self.up * self._scale).to(self.original.dtype)

    def keep(self, timesteps: Tensor, last: int, least: float) -> None:
        """Mask the directions beyond a share that goes from all at timestep 0 down to `least` at `last`."""
        rank = self.down.shape[0]
        fewest = max(1, int(least * rank))
        kept = fewest + ((1 - timesteps.to(self.down.device).view(-1) / last) * (rank - fewest)).floor()
        self.mask = (torch.arange(rank, device=kept.device) < kept[:, None]).to(self.original.dtype)

    def train(self, inputs: Tensor) -> Tensor:
        return LowRank.apply(inputs, self.down, self.up, self._down, self._up, self._scale, self.layer, self.mask)
