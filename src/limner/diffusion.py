"""The diffusion process that training and the base share: noise, targets, loss weights, and the loss.

Notation: a = alphas_cumprod[t], x0 the clean latents, n the noise; x_t = sqrt(a) x0 + sqrt(1 - a) n, SNR = a / (1 - a).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from limner.base.model import BaseModel
from limner.data.batch import Batch


@dataclass(frozen=True)
class Objective:
    """What a training minimises. min_snr_gamma: None weights all timesteps the same. clip_skip: as in encode_tokens."""

    min_snr_gamma: float | None = 5.0
    clip_skip: int = 1


def loss(model: BaseModel, batch: Batch, generator: torch.Generator, objective: Objective | None = None) -> Tensor:
    """Mean weighted squared error of the model's prediction, a float32 scalar.

    Timesteps and noise come from `generator`, a CPU one, so they are the same on every device. Captions are encoded
    here, with gradients, if the batch brings no conditioning.
    """
    objective = objective or Objective()
    latents = batch.latents.float()
    timesteps = stratified_timesteps(len(latents), len(model.alphas_cumprod), generator)
    noise = torch.randn(latents.shape, generator=generator)
    signal = model.alphas_cumprod[timesteps]
    target = prediction_target(latents, noise, signal, model.prediction_type).to(model.device)
    noisy = add_noise(latents, noise, signal).to(model.device, model.dtype, memory_format=torch.channels_last)
    conditioning = batch.conditioning or model.encode_prompts(batch.captions, objective.clip_skip)
    predicted = model.predict(noisy, timesteps.to(model.device), conditioning.to(model.device, model.dtype))
    errors = (predicted.float() - target).square().mean(dim=(1, 2, 3))
    weights = batch.weights * snr_weights(signal, model.prediction_type, objective.min_snr_gamma)
    return (errors * weights.to(errors)).mean()


def stratified_timesteps(batch: int, timesteps: int, generator: torch.Generator) -> Tensor:
    """One random timestep from each of `batch` equal parts of 0..timesteps-1, in random order: (batch,) int64.

    Each is uniform by itself, but together they cover the range, which takes out most of the noise of the loss.
    """
    places = (torch.randperm(batch, generator=generator) + torch.rand(batch, generator=generator)) / batch
    return (places * timesteps).long().clamp(max=timesteps - 1)


def add_noise(latents: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """x_t (batch, 4, h, w); signal: alphas_cumprod at each example's timestep (batch,)."""
    a = signal.view(-1, 1, 1, 1)
    return a.sqrt() * latents + (1 - a).sqrt() * noise


def prediction_target(latents: Tensor, noise: Tensor, signal: Tensor, prediction_type: str) -> Tensor:
    """What the network is to predict: the noise, or v = sqrt(a) n - sqrt(1 - a) x0 (Salimans & Ho 2022)."""
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "v_prediction":
        a = signal.view(-1, 1, 1, 1)
        return a.sqrt() * noise - (1 - a).sqrt() * latents
    raise ValueError(f"unknown prediction type {prediction_type!r}")


def snr_weights(signal: Tensor, prediction_type: str, gamma: float | None) -> Tensor:
    """Min-SNR loss weights (batch,) (Hang et al. 2023, arXiv 2303.09556): the error of x0 weighted by min(SNR, gamma).

    The error of the noise is SNR times, that of v is SNR + 1 times the error of x0. None weights everything the same.
    """
    if gamma is None:
        return torch.ones_like(signal)
    snr = signal / (1 - signal)
    return snr.clamp(max=gamma) / (snr if prediction_type == "epsilon" else snr + 1)
