"""What a training can be judged by as it runs, without drawing a picture: a few forward passes over frozen noise.

The noise and the timesteps never change, so that two measurements differ by what was learned between them alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from limner.base.conditioning import Conditioning, Sizes
from limner.base.model import BaseModel
from limner.data.batch import Example
from limner.device import generator
from limner.diffusion import add_noise, draw_noise, draw_timesteps, prediction_target, signal_levels

BINS = 4  # equally likely parts of the timesteps, as the model is trained at them, from little noise to much
PICTURES = 3  # of each kind that are looked at
PASSES = 2 * PICTURES * BINS  # through the network, of one measurement of the losses


@dataclass(frozen=True)
class Probe:
    """A picture under noise of every bin, and what is the right answer to it.

    noisy and targets (bins, c, h/8, w/8), timesteps (bins,) rising. conditioning (batch of 1) says the caption; None
    where the text encoder is trained, whose answer changes. sizes: of the crop, as its example has them.
    """

    noisy: Tensor
    timesteps: Tensor
    targets: Tensor
    caption: str
    conditioning: Conditioning | None
    sizes: Sizes | None = None

    def told(self, caption: str, conditioning: Conditioning | None) -> "Probe":
        """The same noise under another caption."""
        return replace(self, caption=caption, conditioning=conditioning)


def make_probe(model: BaseModel, example: Example, seed: int, zero_terminal_snr: bool = False) -> Probe:
    """A probe of a picture; its noise and timesteps are decided by the seed."""
    random = generator(seed)
    levels = signal_levels(model, zero_terminal_snr)
    timesteps = draw_timesteps(model, BINS, random).sort().values
    latents = example.latents.float().expand(BINS, -1, -1, -1)
    noise = draw_noise(latents, random)
    signal = levels[timesteps]
    targets = prediction_target(latents, noise, signal, model.prediction_type)
    noisy = add_noise(latents, noise, signal)
    return Probe(noisy, timesteps, targets, example.caption, example.conditioning, example.sizes)


@torch.no_grad()
def answers(model: BaseModel, probes: Sequence[Probe], clip_skip: int = 1) -> list[Tensor]:
    """The model's predictions (bins, c, h/8, w/8), float32 on the CPU, asked for at once where the sizes allow."""
    captions = [probe.conditioning or model.encode_prompts([probe.caption], clip_skip) for probe in probes]
    told = [caption.with_sizes(probe.sizes) for caption, probe in zip(captions, probes, strict=True)]
    together: dict[tuple[int, ...], list[int]] = {}
    for number, (probe, each) in enumerate(zip(probes, told, strict=True)):
        together.setdefault((*probe.noisy.shape, each.hidden_states.shape[1], len(each.tensors)), []).append(number)
    found: dict[int, Tensor] = {}
    for numbers in together.values():
        noisy = torch.cat([probes[number].noisy for number in numbers])
        timesteps = torch.cat([probes[number].timesteps for number in numbers])
        said = Conditioning.stack([told[number].expand(BINS) for number in numbers])
        noisy = noisy.to(model.device, model.dtype, memory_format=torch.channels_last)
        predicted = model.predict(noisy, timesteps.to(model.device), said.to(model.device, model.dtype))
        found |= dict(zip(numbers, predicted.float().cpu().split(BINS), strict=True))
    return [found[number] for number in range(len(probes))]


def as_answered(model: BaseModel, probes: Sequence[Probe], clip_skip: int = 1) -> list[Probe]:
    """The probes with the model's own answers for the right ones: asked of the base, they measure drift from it later.

    They are to be asked together, as here: in another batch the last bits differ.
    """
    told = zip(probes, answers(model, probes, clip_skip), strict=True)
    return [replace(probe, targets=said) for probe, said in told]


def loss_by_bin(model: BaseModel, probes: Sequence[Probe], clip_skip: int = 1) -> list[float]:
    """Mean squared error in each bin. Of probes of `as_answered` it is how far the model moved since."""
    told = zip(probes, answers(model, probes, clip_skip), strict=True)
    errors = [(said - probe.targets).square().mean(dim=(1, 2, 3)) for probe, said in told]
    return torch.stack(errors).mean(dim=0).tolist()


def mean_loss(model: BaseModel, probes: Sequence[Probe], clip_skip: int = 1) -> float:
    """Mean squared error over all bins."""
    return sum(loss_by_bin(model, probes, clip_skip)) / BINS


def binding(keyword_loss: float, class_loss: float) -> float:
    """By what share the keyword predicts the subject better than the class word does, under the same noise: 0 before
    anything is learned, and again where the class word has come to mean the subject too."""
    return 1 - keyword_loss / class_loss


def has_settled(losses: Sequence[float], window: int, share: float) -> bool:
    """DVAR's rule (Voronov et al. 2023, arXiv 2302.04841) on the losses of a frozen batch, in their order.

    True once the variance of the last `window` of them is below `share` of the variance of all: there is no trend
    left that stands out. Never while there are only as many as the window holds.
    """
    if len(losses) <= window:
        return False
    values = torch.tensor(losses, dtype=torch.float64)
    return bool(values[-window:].var() < share * values.var())


def some(items: Sequence[Any], count: int = PICTURES) -> list[Any]:
    """At most `count` of them, evenly chosen."""
    if len(items) <= count:
        return list(items)
    return [items[round((index + 0.5) * len(items) / count - 0.5)] for index in range(count)]


@dataclass(frozen=True)
class Probes:
    """All that a training's losses are measured on.

    learned: of pictures that it learns from, a frozen batch. held_out: of those that it does not see; may be empty.
    without_keyword: `held_out`, or else `learned`, under captions without the keyword. neutral: the base's answers to
    prompts that have nothing to do with the subject.
    """

    learned: list[Probe]
    held_out: list[Probe]
    without_keyword: list[Probe]
    neutral: list[Probe]
    clip_skip: int = 1

    def losses(self, model: BaseModel) -> dict[str, float]:
        """The mean loss of each kind of picture, and of the held-out ones that of each bin, by rising noise."""
        found = {"frozen_loss": mean_loss(model, self.learned, self.clip_skip)}
        if self.held_out:
            bins = loss_by_bin(model, self.held_out, self.clip_skip)
            found["held_out_loss"] = sum(bins) / BINS
            found |= {f"held_out_loss_{number}": loss for number, loss in enumerate(bins, 1)}
        return found

    def side_effects(self, model: BaseModel) -> dict[str, float]:
        """binding: see there. prediction_drift: root mean square change of the answers to neutral prompts, relative
        to their size."""
        subject = mean_loss(model, self.held_out or self.learned, self.clip_skip)
        found = {"binding": binding(subject, mean_loss(model, self.without_keyword, self.clip_skip))}
        if self.neutral:
            size = torch.stack([probe.targets.square().mean() for probe in self.neutral]).mean()
            found["prediction_drift"] = (mean_loss(model, self.neutral, self.clip_skip) / float(size)) ** 0.5
        return found
