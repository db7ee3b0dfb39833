"""LoCon: a LoRA of the convolutions too, which get a rank of their own, as kohya's `conv_dim`."""

from typing import Annotated

from pydantic import Field

from limner.config import Usual
from limner.methods.family import Layers
from limner.methods.lora import LoRA, LoRAConfig


class LoConConfig(LoRAConfig):
    """What a LoCon is made of."""

    layers: Layers = Field(
        "all",
        description="Layers of the UNet: attention, attention+mlp, or all, which adds the convolutions.",
    )
    conv_rank: Annotated[int, Usual(1, 256)] = Field(
        8, ge=1, le=1024, description="Rank outside of the transformers, unless ranks says another."
    )


class LoCon(LoRA):
    """Low-rank changes everywhere."""

    Config = LoConConfig
    config: LoConConfig

    def usual_rank(self, name: str) -> int:
        is_inside = ".attentions." in name or not name.startswith("unet.")
        return self.config.rank if is_inside else self.config.conv_rank
