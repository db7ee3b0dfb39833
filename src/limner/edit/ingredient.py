"""Adapters' files with strengths, as `limner merge` is told them."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

from limner.edit.written import Source
from limner.errors import UserError
from limner.formats import load_weights
from limner.weights import Weights

_STRENGTHS = re.compile(r"(?P<path>.+?):(?P<first>[^:/\\]+)(?::(?P<second>[^:/\\]+))?")


@dataclass(frozen=True)
class Ingredient:
    """A LoRA's file, or its kin's, and how strongly it is to be added to text encoders and UNet."""

    path: Path
    text: float = 1.0
    unet: float = 1.0

    @classmethod
    def parse(cls, told: str) -> "Ingredient":
        """FILE, FILE:strength, or FILE:text strength:UNet strength, the order of the webui's tags. Raises UserError."""
        match = _STRENGTHS.fullmatch(told)
        if match is None or Path(told).expanduser().exists():
            return cls(Path(told).expanduser())
        try:
            text = float(match["first"])
            unet = text if match["second"] is None else float(match["second"])
        except ValueError:
            text = unet = math.nan
        if not (math.isfinite(text) and math.isfinite(unet)):
            raise UserError(
                f"{told!r} is neither a file nor a file with strengths; write FILE, FILE:0.8, or FILE:0.5:1 for the "
                "text encoder and the UNet"
            )
        return cls(Path(match["path"]).expanduser(), text, unet)

    def strength(self, layer: str) -> float:
        return self.text if layer.startswith("text_encoder") else self.unet

    def source(self) -> Source:
        return Source.of(self.path, self.unet, None if self.text == self.unet else self.text)

    def load(self) -> Weights:
        """The file's weights. Raises UserError if it is no LoRA, nor of its kin."""
        weights = load_weights(self.path)
        if weights.kind != "lora":
            raise UserError(f"{self.path} is not a LoRA but holds {weights.kind} weights; use a LoRA")
        return weights
