"""Attention on CPUs, by whichever of two equal ways is faster at the shape."""

from typing import Any

from diffusers.models.attention_processor import Attention, AttnProcessor, AttnProcessor2_0
from torch import Tensor

# Scores up to which three plain matrix products win over the fused kernel, whose backward pass is slow on CPUs
# (a pocket-sized training step: 0.233 against 0.293 s); beyond, the scores' memory decides for the fused one.
FEW_SCORES = 1024 * 1024


class AttentionByShape:
    """diffusers' plain processor for short sequences, its fused one for long ones."""

    def __init__(self) -> None:
        self.plain, self.fused = AttnProcessor(), AttnProcessor2_0()

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        temb: Tensor | None = None,
        **extra: Any,
    ) -> Tensor:
        keys = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        is_short = hidden_states.shape[-2] * keys.shape[-2] <= FEW_SCORES
        processor = self.plain if is_short else self.fused
        return processor(attn, hidden_states, encoder_hidden_states, attention_mask, temb, **extra)
