"""What steers sampling: the prompt's conditioning at each call of the network, and its guided prediction.

Composition by AND is composable diffusion (Liu et al. 2022, arXiv 2206.01714), as in the webui.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from limner.base.conditioning import Conditioning
from limner.base.model import BaseModel
from limner.prompt import Chunk, Part, chunks, emphasis
from limner.prompt_edits import entry_at, timeline

NO_MEAN = (
    1e-4  # share of the mean size below which the mean is rounding noise, and restoring it would be a division by 0
)


@dataclass(frozen=True)
class Timeline:
    """Conditionings (batch of 1), each good up to its last step; see `entry_at`."""

    ends: list[int]
    told: list[Conditioning]

    def at(self, call: int) -> Conditioning:
        return self.told[entry_at(self.ends, call)]


@dataclass(frozen=True)
class Guidance:
    """The prompt's parts, each with its share of the guidance, and the negative prompt."""

    parts: list[tuple[Timeline, float]]
    negative: Timeline
    cfg_scale: float

    def predict(self, model: BaseModel, latents: Tensor, timestep: Tensor, call: int) -> Tensor:
        """uncond + sum_i w_i * cfg * (cond_i - uncond), float32, for latents (batch, c, h, w) at one timestep.

        A single part of guidance 1 is its own prediction, so that the negative prompt need not be computed.
        """
        scales = [weight * self.cfg_scale for _, weight in self.parts]
        told = _equal_length([part.at(call) for part, _ in self.parts])
        if scales == [1.0]:
            return _predict(model, latents, timestep, told)[0]
        negative = self.negative.at(call)
        if negative.hidden_states.shape[1] == told[0].hidden_states.shape[1]:
            base, *parts = _predict(model, latents, timestep, [negative, *told])
        else:
            (base,) = _predict(model, latents, timestep, [negative])
            parts = _predict(model, latents, timestep, told)
        guided = base
        for part, scale in zip(parts, scales, strict=True):
            guided = guided + scale * (part - base)
        return guided


def side_by_side(guidances: Sequence[Guidance]) -> Guidance | None:
    """One guidance for a batch with a row of each; None unless all are plain prompts of one length and scale."""
    plain = all(len(each.parts) == len(each.parts[0][0].told) == len(each.negative.told) == 1 for each in guidances)
    kinds = {(each.cfg_scale, each.parts[0][1]) for each in guidances}
    told = [each.parts[0][0].told[0] for each in guidances]
    negative = [each.negative.told[0] for each in guidances]
    if not plain or len(kinds) > 1 or len({each.hidden_states.shape for each in [*told, *negative]}) > 1:
        return None
    first, weight = guidances[0], guidances[0].parts[0][1]
    part = Timeline(first.parts[0][0].ends, [Conditioning.stack(told)])
    return Guidance([(part, weight)], Timeline(first.negative.ends, [Conditioning.stack(negative)]), first.cfg_scale)


def _predict(model: BaseModel, latents: Tensor, timestep: Tensor, told: list[Conditioning]) -> list[Tensor]:
    """The network's output for the same latents under each conditioning, in one call."""
    batch = len(latents)
    together = Conditioning.stack([each.expand(batch) for each in told])
    repeated = latents.to(model.dtype).repeat(len(told), 1, 1, 1)
    predicted = model.predict(repeated, timestep.expand(len(repeated)), together)
    return list(predicted.float().split(batch))


def _equal_length(told: list[Conditioning]) -> list[Conditioning]:
    """Parts of an AND as long as the longest, the last vector repeated, as the webui does."""
    longest = max(each.hidden_states.shape[1] for each in told)
    states = [each.hidden_states for each in told]
    states = [torch.cat([s, s[:, -1:].expand(-1, longest - s.shape[1], -1)], dim=1) for s in states]
    return [replace(each, hidden_states=longer) for each, longer in zip(told, states, strict=True)]


def encode(
    model: BaseModel,
    parts: list[Part],
    negative: str,
    cfg_scale: float,
    steps: int,
    clip_skip: int = 1,
    before: int = 0,
) -> Guidance:
    """Encode a prompt's parts and the negative prompt for `steps` steps; AND has no meaning in a negative prompt.

    before: the steps of an earlier pass, on which timed edits count.

    An empty negative prompt is no text at all, but an empty prompt is a text of no words, as in the webui.
    """
    unwanted = encode_timeline(model, negative, steps, clip_skip, before)
    if not negative:
        unwanted = replace(unwanted, told=[model.silence(each, [True]) for each in unwanted.told])
    return Guidance(
        parts=[(encode_timeline(model, part.text, steps, clip_skip, before), part.weight) for part in parts],
        negative=unwanted,
        cfg_scale=cfg_scale,
    )


def fragments(texts: Iterable[str], steps: int, before: int = 0) -> set[str]:
    """Every run of text that will be turned into tokens, of prompts drawn in that many steps, as `encode` has them."""
    said = (said for text in texts for _, said in timeline(text, steps, before))
    return {fragment.text for text in said for fragment in emphasis(text) if not fragment.is_break}


def encode_timeline(model: BaseModel, text: str, steps: int, clip_skip: int = 1, before: int = 0) -> Timeline:
    """Each text that the timed edits yield, all of one length in chunks of 77 states, the shorter ones padded; pooled
    is the first chunk's."""
    entries = timeline(text, steps, before)
    texts = list(dict.fromkeys(said for _, said in entries))
    comma = model.tokenizer.convert_tokens_to_ids(",</w>")  # get_vocab() would copy all 49,408
    rows = [chunks(said, model.pieces, comma) for said in texts]
    length = max(len(row) for row in rows)
    rows = [row + [Chunk()] * (length - len(row)) for row in rows]
    counts = torch.tensor([sum(said == other for _, other in entries) for said in texts], dtype=torch.float32)
    columns = [_encode_column(model, [row[at] for row in rows], counts, clip_skip) for at in range(length)]
    states = torch.cat([column.hidden_states for column in columns], dim=1)
    told = dict(zip(texts, replace(columns[0], hidden_states=states).rows(), strict=True))
    return Timeline([end for end, _ in entries], [told[said] for _, said in entries])


def _encode_column(model: BaseModel, column: list[Chunk], counts: Tensor, clip_skip: int) -> Conditioning:
    """States (texts, 77, dim) of one chunk of each text, with emphasis, and the pooled ones, which know none.

    The mean that emphasis restores runs over the whole timeline, in which text i stands `counts[i]` times.
    """
    tokens = torch.tensor([model.frame(chunk.ids) for chunk in column])
    told = model.encode_tokens(tokens, clip_skip)
    weights = torch.ones(tokens.shape)
    for row, chunk in zip(weights, column, strict=True):
        row[1 : len(chunk.weights) + 1] = torch.tensor(chunk.weights)
    if bool((weights == 1).all()):
        return told
    by_encoder = told.hidden_states.split(model.text_widths, dim=-1)
    states = torch.cat([_emphasised(states, weights, counts) for states in by_encoder], dim=-1)
    return replace(told, hidden_states=states)


def _emphasised(states: Tensor, weights: Tensor, counts: Tensor) -> Tensor:
    """One encoder's states (texts, 77, dim) times weights (texts, 77), then all scaled so that their mean is what it
    was: the webui's emphasis "Original"."""
    scaled = states.float() * weights[..., None].to(states.device)
    counts = counts.to(states.device)
    before, after = ((tensor.float().mean((1, 2)) * counts).sum() / counts.sum() for tensor in (states, scaled))
    if min(abs(before), abs(after)) > NO_MEAN * scaled.abs().mean():
        scaled = scaled * (before / after)
    return scaled.to(states.dtype)
