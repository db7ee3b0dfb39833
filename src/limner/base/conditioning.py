"""What a denoiser is told beside the noisy latents: texts as their encoders' states, and sizes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

TOKENS = 77  # places of one text chunk, start and end marks included
Sizes = tuple[int, int, int, int, int, int]  # as Conditioning has them, of one example


@dataclass(frozen=True)
class Conditioning:
    """What the denoiser is told beside the noisy latents.

    hidden_states: (batch, tokens, dim), the text encoders' states side by side. pooled: (batch, dim), the last text
    encoder's state of the whole text, projected; None where the family has no use for it. sizes: (batch, 6), height and
    width of the picture before it was cropped, top and left of the crop, height and width that are meant to come out,
    in pixels; None for an uncropped picture of the latents' size.
    """

    hidden_states: Tensor
    pooled: Tensor | None = None
    sizes: Tensor | None = None

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Those that it has, by name."""
        each = {"hidden_states": self.hidden_states, "pooled": self.pooled, "sizes": self.sizes}
        return {name: tensor for name, tensor in each.items() if tensor is not None}

    @property
    def nbytes(self) -> int:
        return sum(tensor.nbytes for tensor in self.tensors.values())

    def map(self, change: Callable[[Tensor], Tensor]) -> "Conditioning":
        """The same with each of its tensors changed."""
        return Conditioning(**{name: change(tensor) for name, tensor in self.tensors.items()})

    def expand(self, batch: int) -> "Conditioning":
        """That of one example, or of as many as the batch has, for a whole batch."""
        return self.map(lambda tensor: tensor.expand(batch, *tensor.shape[1:]))

    def rows(self) -> list["Conditioning"]:
        """Each example's own, with a batch of 1."""
        parts = {name: tensor.split(1) for name, tensor in self.tensors.items()}
        return [Conditioning(**dict(zip(parts, each, strict=True))) for each in zip(*parts.values(), strict=True)]

    def with_sizes(self, sizes: Sizes | None) -> "Conditioning":
        """The same of a crop of these sizes, for the whole batch."""
        told = None if sizes is None else torch.tensor([sizes], dtype=torch.float32)
        return replace(self, sizes=None if told is None else told.expand(len(self.hidden_states), -1))

    def to(self, device: torch.device, dtype: torch.dtype) -> "Conditioning":
        """Sizes stay float32: in half precision neighbouring ones are the same."""
        moved = self.map(lambda tensor: tensor.to(device, dtype))
        return moved if self.sizes is None else replace(moved, sizes=self.sizes.to(device, torch.float32))

    @staticmethod
    def stack(parts: list["Conditioning"]) -> "Conditioning":
        """Join along the batch, repeating the shorter ones' last 77-token chunk of states up to the longest."""
        longest = max(part.hidden_states.shape[1] for part in parts)
        padded = []
        for part in parts:
            states = part.hidden_states
            missing = (longest - states.shape[1]) // TOKENS
            padded.append(torch.cat([states, *[states[:, -TOKENS:]] * missing], dim=1))
        pooled = [part.pooled for part in parts if part.pooled is not None]
        sizes = [part.sizes for part in parts if part.sizes is not None]
        return Conditioning(
            torch.cat(padded), torch.cat(pooled) if pooled else None, torch.cat(sizes) if sizes else None
        )
