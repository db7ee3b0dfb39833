"""Whether a model predicts the noise, v or the flow, found out by asking it once.

A LoRA that was trained with the wrong reading is useless and fails without an error; so what a file or a person says
can be checked too.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from limner.base.model import BaseModel

TIMES = (0.3, 0.4, 0.5, 0.6)  # of the schedule: where picture and noise both count, and readings differ most
LATENTS = 8  # along a side: any model tells at this size, and it costs little more than to read the weights once
# A reading is believed if the model explains this much of what it would mean, and its error is so many times smaller
# than that of the other. Of the pocket base the right one explains 0.95, rewritten to predict v 0.88, and the wrong one
# 0.13 at most. Of a network that has learned nothing neither is believed.
LEAST_EXPLAINED, LEAST_RATIO = 0.2, 2.0


@dataclass(frozen=True)
class Verdict:
    """What a model was found to predict: "epsilon", "v_prediction", "flow", or None if it cannot be told.

    errors: the mean squared error of each reading, relative to that of predicting nothing.
    """

    prediction_type: str | None
    errors: dict[str, float]

    @property
    def said(self) -> str:
        """In words, with how sure it is."""
        least, next_best, *_ = sorted(self.errors.values())
        if self.prediction_type is None:
            return f"a probe could not tell ({_words(self.errors)})"
        return f"a probe found that it predicts {NAMES[self.prediction_type]}, {next_best / least:.0f} times as well"


NAMES = {"epsilon": "the noise (epsilon)", "v_prediction": "v (v_prediction)", "flow": "the flow (rectified flow)"}


@torch.no_grad()
def probe(model: BaseModel) -> Verdict:
    """Ask the model for its prediction of noisy simple images, and see what it is nearer to.

    The model must not be one that is known to predict flows. It is shown the images with noise as models of noise and v
    are trained, and again as those of flows are, all in one batch.
    """
    latents = model.encode_images(_pictures(LATENTS * model.factor)).float().cpu().repeat(len(TIMES) // 2, 1, 1, 1)
    times = (torch.tensor(TIMES) * len(model.alphas_cumprod)).long()
    noise = torch.randn(latents.shape, generator=torch.Generator().manual_seed(0))
    signal = model.alphas_cumprod[times].view(-1, 1, 1, 1)
    share = (times / len(model.alphas_cumprod)).view(-1, 1, 1, 1)  # of noise, on the straight way to it
    shown = torch.cat([signal.sqrt() * latents + (1 - signal).sqrt() * noise, (1 - share) * latents + share * noise])
    told = model.encode_prompts([""]).map(lambda tensor: tensor.expand(len(shown), *tensor.shape[1:]))
    said = model.predict(shown.to(model.device, model.dtype), times.repeat(2).to(model.device), told).float().cpu()
    by_noise, by_flow = said.chunk(2)
    errors = {
        "epsilon": _relative(by_noise, noise),
        "v_prediction": _relative(by_noise, signal.sqrt() * noise - (1 - signal).sqrt() * latents),
        "flow": _relative(by_flow, noise - latents),
    }
    best, *others = sorted(errors, key=lambda name: errors[name])
    is_told = errors[best] <= 1 - LEAST_EXPLAINED and errors[others[0]] >= LEAST_RATIO * errors[best]
    return Verdict(best if is_told else None, errors)


def _relative(said: Tensor, target: Tensor) -> float:
    """Mean over the examples of the squared error over the target's square."""
    return float(((said - target).square().mean((1, 2, 3)) / target.square().mean((1, 2, 3))).mean())


def _pictures(side: int) -> Tensor:
    """A light disc on dark ground and a sunset, pixels (2, 3, side, side) in -1..1."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    disc = torch.stack([0.8 - 1.4 * (x.square() + y.square() > 0.3).float()] * 3)
    sunset = torch.stack([0.9 - 0.4 * y, 0.2 + 0.2 * y, -0.3 + 0.8 * y])
    return torch.stack([disc, sunset]).clamp(-1, 1)


def _words(errors: dict[str, float]) -> str:
    return ", ".join(f"error {error:.2f} if {NAMES[name]}" for name, error in errors.items())
