"""The first half of a base's network, copied as it is now, so that what is taught later does not change its eyes."""

import copy
from typing import Any, Protocol

import torch
from torch import Tensor

from limner.base.flow import FlowModel
from limner.base.model import BaseModel


class Half(Protocol):
    """widths: channels of each level. Called with noisy latents (1, c, h, w) and a timestep it gives the states of the
    levels, maps (1, channels, height, width), under an empty text."""

    widths: list[int]

    def __call__(self, noisy: Tensor, timestep: int) -> list[Tensor]: ...


def first_half(model: BaseModel) -> Half:
    """A copy of the half of the model's network that goes from latents to what they mean."""
    return _UNetHalf(model) if model.family.denoiser == "unet" else _TransformerHalf(model)


def _copied(network: Any, names: list[str]) -> dict[str, Any]:
    return {name: copy.deepcopy(getattr(network, name)) for name in names}


class _UNetHalf:
    def __init__(self, model: BaseModel) -> None:
        names = ["conv_in", "time_proj", "time_embedding", "down_blocks", "mid_block"]
        names += ["add_time_proj", "add_embedding"] if model.family.is_told_sizes else []
        self._parts = _copied(model.denoiser, names)
        self._model, self._empty = model, model.encode_prompts([""])
        blocks = [*self._parts["down_blocks"], self._parts["mid_block"]]
        self.widths = [int(block.resnets[-1].out_channels) for block in blocks]

    def __call__(self, noisy: Tensor, timestep: int) -> list[Tensor]:
        model, parts = self._model, self._parts
        noisy, place = model.as_network_takes(noisy, torch.tensor([timestep], device=model.device))
        embedding = parts["time_embedding"](parts["time_proj"](place).to(model.dtype))
        if "add_embedding" in parts:
            assert self._empty.pooled is not None
            sizes = parts["add_time_proj"](model.sizes_of(noisy).flatten()).view(1, -1)
            embedding = embedding + parts["add_embedding"](torch.cat([self._empty.pooled, sizes], 1).to(model.dtype))
        states = self._empty.hidden_states
        x = parts["conv_in"](noisy)
        seen = []
        for block in parts["down_blocks"]:
            told = {"encoder_hidden_states": states} if getattr(block, "has_cross_attention", False) else {}
            x, _ = block(hidden_states=x, temb=embedding, **told)
            seen.append(x)
        return [*seen, parts["mid_block"](x, embedding, encoder_hidden_states=states)]


class _TransformerHalf:
    def __init__(self, model: BaseModel) -> None:
        assert isinstance(model, FlowModel)
        network = model.denoiser
        self._parts = _copied(network, ["pos_embed", "time_text_embed", "context_embedder"])
        self._blocks = copy.deepcopy(network.transformer_blocks[: max(1, len(network.transformer_blocks) // 2)])
        self._model: FlowModel = model
        self._empty = model.encode_prompts([""])
        self.widths = [int(network.inner_dim)] * len(self._blocks)

    def __call__(self, noisy: Tensor, timestep: int) -> list[Tensor]:
        model, parts = self._model, self._parts
        latents, place, context = model.told(noisy, torch.tensor([timestep], device=model.device), self._empty)
        x = parts["pos_embed"](latents)
        embedding = parts["time_text_embed"](place, self._empty.pooled)
        context = parts["context_embedder"](context)
        seen = []
        for block in self._blocks:
            context, x = block(hidden_states=x, encoder_hidden_states=context, temb=embedding)
            seen.append(x.mT[..., None])  # tokens as a map of one column: only their statistics are looked at
        return seen
