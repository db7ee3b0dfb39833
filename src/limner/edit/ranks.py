"""How many directions of a layer's change to keep, and how much of the change they are."""

from collections import defaultdict
from dataclasses import dataclass, field

import torch
from torch import Tensor

NEGLIGIBLE = 1e-7  # of the longest direction: shorter ones are what rounding in float32 leaves

# Parts of a model, by how its layers' names begin.
_BLOCKS = {"unet.down_blocks.": "down", "unet.mid_block.": "mid", "unet.up_blocks.": "up", "text_encoder": "text"}
ALL, REST = "all", "rest"


@dataclass(frozen=True)
class Budget:
    """What to keep of each layer: at most `rank` directions; of these as many as hold the share `energy` of the squared
    lengths, or none shorter than `ratio` times the longest."""

    rank: int | None = None
    energy: float | None = None
    ratio: float | None = None

    def rank_of(self, lengths: Tensor, total: float) -> int:
        """Of singular values, the longest first, and the sum of all squares (these, and any that were not found)."""
        if not len(lengths) or lengths[0] <= 0:
            return 0
        lengths = lengths.double()
        kept = int((lengths > NEGLIGIBLE * lengths[0]).sum())
        if self.energy is not None:
            reached = torch.cumsum(lengths.square(), 0) >= self.energy * total * (1 - 1e-12)
            if bool(reached.any()):
                kept = min(kept, 1 + int(reached.int().argmax()))
        if self.ratio is not None:
            kept = min(kept, int((lengths >= self.ratio * lengths[0]).sum()))
        return kept if self.rank is None else min(kept, self.rank)


def block_of(layer: str) -> str:
    """ "down", "mid", "up", "text", or "rest" for the UNet's ends and everything else."""
    return next((block for start, block in _BLOCKS.items() if layer.startswith(start)), REST)


@dataclass
class Energy:
    """Sums of squares of changes, by block: what there is, and what is kept of it."""

    there: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    kept: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def add(self, layer: str, there: float, kept: float) -> None:
        for block in (block_of(layer), ALL):
            self.there[block] += there
            self.kept[block] += kept

    def shares(self) -> dict[str, float]:
        """The share that is kept in each block that changes, and in all."""
        order = [*_BLOCKS.values(), REST, ALL]
        return {block: min(1.0, self.kept[block] / self.there[block]) for block in order if self.there.get(block)}
