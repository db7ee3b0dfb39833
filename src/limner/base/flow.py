"""Models that predict the flow from image to noise (rectified flow), with the face of those that predict noise.

Flow matching's noisy latents are x_s = (1 - s) x0 + s n, which are those of a = (1 - s)^2 / ((1 - s)^2 + s^2), up to a
factor (Esser et al. 2024, arXiv 2403.03206): timestep i stands for s = (i + 1) / 1000.
"""

import hashlib

import torch
from torch import Tensor
from torch.nn import functional

from limner.base.conditioning import Conditioning
from limner.base.model import BaseModel

T5_TOKENS = 256  # places of the encoder that is left out, all zeros, as diffusers fills them


def alphas_cumprod(steps: int) -> Tensor:
    """a (steps,) float32 of the timesteps 0..steps-1, of s = 1 / steps to 1."""
    s = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    return ((1 - s).square() / _length(s).square()).float()


def _length(s: Tensor) -> Tensor:
    """Of (1 - s, s): what x_s is to be divided by to have a variance of one."""
    return ((1 - s).square() + s.square()).sqrt()


class FlowBase(BaseModel):
    """A base that predicts flows, whatever its network is."""

    @property
    def prediction_type(self) -> str:
        return "flow"

    @property
    def timestep_shift(self) -> float:
        return float(self.scheduler_config.get("shift") or 1.0)

    def as_trained(self, latents: Tensor, timestep: Tensor) -> tuple[Tensor, Tensor]:
        s = timestep / len(self.alphas_cumprod)
        return latents / _length(s), timestep - 1

    def as_network_takes(self, latents: Tensor, timesteps: Tensor) -> tuple[Tensor, Tensor]:
        times = timesteps + 1
        s = (times / len(self.alphas_cumprod)).to(torch.float32).view(-1, 1, 1, 1)
        return (latents * _length(s)).to(latents.dtype), times


class FlowUNet(FlowBase):
    """A base of Stable Diffusion 1.x, 2.x or XL that was trained on to predict flows."""

    @property
    def fingerprint(self) -> str:
        """Another than that of the same weights taken for something else: predictions are kept under it."""
        return hashlib.sha256(f"{super().fingerprint} flow".encode()).hexdigest()


class FlowModel(FlowBase):
    """A base whose network is a transformer of images and text side by side."""

    def predict(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> Tensor:
        """The flow n - x0, shaped like `latents`."""
        scaled, times, states = self.told(latents, timesteps, conditioning)
        return self.denoiser(
            hidden_states=scaled,
            timestep=times,
            encoder_hidden_states=states,
            pooled_projections=conditioning.pooled,
            return_dict=False,
        )[0]

    def told(self, latents: Tensor, timesteps: Tensor, conditioning: Conditioning) -> tuple[Tensor, Tensor, Tensor]:
        """Latents, times and states as the transformer takes them."""
        scaled, times = self.as_network_takes(latents, timesteps)
        states = conditioning.hidden_states
        width = self.denoiser.config.joint_attention_dim
        states = functional.pad(states, (0, width - states.shape[-1], 0, T5_TOKENS))
        return scaled, times, states
