"""The diffusion process that training and the base share: noise, targets, loss weights, and the loss.

Notation: a = alphas_cumprod[t], x0 the clean latents, n the noise; x_t = sqrt(a) x0 + sqrt(1 - a) n, SNR = a / (1 - a).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from limner.base.model import BaseModel
from limner.data.batch import Batch
from limner.errors import UserError

Weighting = Literal["min-snr", "debiased", "p2", "none"]
Timesteps = Literal["uniform", "middle", "low", "high"]
LEAST_COVERED = 1 / 16  # of a picture
LEAST_SIGNAL = 2.0**-24  # what is taken for none, where something is divided by it


@dataclass(frozen=True)
class Objective:
    """What a training minimises; the defaults leave out everything that can be left out.

    min_snr_gamma: the bound of the weighting "min-snr"; None weights all timesteps the same there. clip_skip: as in
    encode_tokens. noise_offset: see draw_noise. input_perturbation: extra noise in the input alone, as a share of the
    noise (Ning et al. 2023, arXiv 2301.11706). huber: where the error stops to count by its square; 0 for never.
    zero_terminal_snr: see signal_levels. timesteps: see draw_timesteps.
    """

    min_snr_gamma: float | None = 5.0
    clip_skip: int = 1
    weighting: Weighting = "min-snr"
    timesteps: Timesteps = "uniform"
    zero_terminal_snr: bool = False
    noise_offset: float = 0.0
    input_perturbation: float = 0.0
    huber: float = 0.0


def loss(model: BaseModel, batch: Batch, generator: torch.Generator, objective: Objective | None = None) -> Tensor:
    """Mean weighted error of the model's prediction, a float32 scalar.

    Timesteps and noise come from `generator`, a CPU one, so they are the same on every device. Captions are encoded
    here, with gradients, if the batch brings no conditioning. Examples whose answer is known bring timestep and noise
    along. Raises UserError as signal_levels does.
    """
    objective = objective or Objective()
    known = 0 if batch.answers is None else len(batch.answers)
    latents = batch.latents[: len(batch.latents) - known].float()
    levels = signal_levels(model, objective.zero_terminal_snr)
    timesteps = draw_timesteps(model, len(latents), generator, objective.timesteps)
    noise = draw_noise(latents, generator, objective.noise_offset)
    signal = levels[timesteps]
    target = prediction_target(latents, noise, signal, model.prediction_type)
    if objective.input_perturbation:
        noise = noise + objective.input_perturbation * torch.randn(latents.shape, generator=generator)
    noisy = add_noise(latents, noise, signal)
    if batch.answers is not None and batch.timesteps is not None:
        noisy = torch.cat([noisy, batch.latents[-known:]])
        timesteps = torch.cat([timesteps, batch.timesteps])
        target = torch.cat([target, batch.answers])
        signal = levels[timesteps]
    noisy = noisy.to(model.device, model.dtype, memory_format=torch.channels_last)
    conditioning = batch.conditioning or model.encode_prompts(batch.captions, objective.clip_skip)
    conditioning = replace(conditioning, sizes=batch.sizes)
    predicted = model.predict(noisy, timesteps.to(model.device), conditioning.to(model.device, model.dtype))
    errors = mean_where_it_counts(penalty(predicted.float() - target.to(model.device), objective.huber), batch.masks)
    weights = batch.weights * loss_weights(signal, model.prediction_type, objective)
    return (errors * weights.to(errors)).mean()


def draw_timesteps(
    model: BaseModel, batch: int, generator: torch.Generator, distribution: Timesteps = "uniform"
) -> Tensor:
    """Random timesteps (batch,) int64 to train the model at; whatever asks the model at random timesteps takes these.

    "middle" is the logit-normal distribution of mean 0 and deviation 1 (Esser et al. 2024, arXiv 2403.03206); "low"
    and "high" are u^3 and 1 - u^3 of a uniform u: mostly little noise, or mostly much. On top of it comes the model's
    own shift.
    """
    count = len(model.alphas_cumprod)
    times = shifted(QUANTILES[distribution](stratified(batch, generator)), model.timestep_shift)
    return (times * count).long().clamp(max=count - 1)


def stratified(batch: int, generator: torch.Generator) -> Tensor:
    """One random number from each of `batch` equal parts of 0..1, in random order: (batch,) float32.

    Each is uniform by itself, but together they cover the range, which takes out most of the noise of the loss.
    """
    return (torch.randperm(batch, generator=generator) + torch.rand(batch, generator=generator)) / batch


def shifted(times: Tensor, shift: float) -> Tensor:
    """Times s in 0..1 moved as flow models move them for large pictures: to shift s / (1 + (shift - 1) s) (Esser et
    al. 2024, equation 23). A shift of 1 leaves them where they are."""
    return times if shift == 1 else shift * times / (1 + (shift - 1) * times)


# Share of the draws -> share of the timesteps that they lie below.
QUANTILES: dict[str, Callable[[Tensor], Tensor]] = {
    "uniform": lambda place: place,
    "middle": lambda place: torch.special.ndtri(place.clamp(1e-6, 1 - 1e-6)).sigmoid(),
    "low": lambda place: place**3,
    "high": lambda place: 1 - (1 - place) ** 3,
}


def signal_levels(model: BaseModel, zero_terminal_snr: bool = False) -> Tensor:
    """alphas_cumprod (timesteps,) to train with; `zero_terminal_snr` shifts and scales their roots so that the last is
    pure noise and the first stays (Lin et al. 2023, arXiv 2305.08891, algorithm 1).

    Raises UserError for a base that predicts the noise: of pure noise there is nothing to learn for it.
    """
    if model.prediction_type == "epsilon" and model.alphas_cumprod[-1] == 0:
        raise UserError(
            f"the base {model.name} says that it predicts the noise and that its last timestep is nothing but noise, "
            "which cannot both be; correct its scheduler's prediction_type or rescale_betas_zero_snr"
        )
    if not zero_terminal_snr or model.prediction_type == "flow":  # which ends in pure noise as it is
        return model.alphas_cumprod
    if model.prediction_type != "v_prediction":
        raise UserError(
            f"zero_terminal_snr needs a base that predicts v, and {model.name} predicts the noise; leave it out"
        )
    roots = model.alphas_cumprod.sqrt()
    return ((roots - roots[-1]) * (roots[0] / (roots[0] - roots[-1]))).square()


def draw_noise(latents: Tensor, generator: torch.Generator, offset: float = 0.0) -> Tensor:
    """Normal noise shaped like `latents`, plus `offset` times one normal number for each channel of each example.

    With an offset the network learns to move a whole picture's brightness (Guttenberg 2023, "Diffusion with Offset
    Noise").
    """
    noise = torch.randn(latents.shape, generator=generator)
    if offset:
        noise = noise + offset * torch.randn(*latents.shape[:2], 1, 1, generator=generator)
    return noise


def penalty(errors: Tensor, huber: float = 0.0) -> Tensor:
    """The square of each error; with `huber` c the pseudo-Huber 2c (sqrt(e^2 + c^2) - c) (Charbonnier et al. 1994),
    which is the square of errors well below c and grows as 2c |e| above."""
    if not huber:
        return errors.square()
    return 2 * huber * ((errors.square() + huber**2).sqrt() - huber)


def mean_where_it_counts(errors: Tensor, masks: Tensor | None) -> Tensor:
    """Mean error (batch,) of each example, of errors (batch, c, h, w); weighted by masks (batch, h, w) of 0..1.

    An example counts the same however little of it is masked in, down to LEAST_COVERED; below, it counts less, so
    that a sliver of a subject at the edge of a crop does not shout.
    """
    if masks is None:
        return errors.mean(dim=(1, 2, 3))
    masks = masks.to(errors)[:, None]
    return (errors * masks).mean(dim=(1, 2, 3)) / masks.mean(dim=(1, 2, 3)).clamp(min=LEAST_COVERED)


def add_noise(latents: Tensor, noise: Tensor, signal: Tensor) -> Tensor:
    """x_t (batch, c, h, w); signal: alphas_cumprod at each example's timestep (batch,)."""
    a = signal.view(-1, 1, 1, 1)
    return a.sqrt() * latents + (1 - a).sqrt() * noise


def prediction_target(latents: Tensor, noise: Tensor, signal: Tensor, prediction_type: str) -> Tensor:
    """What the network is to predict: the noise, v = sqrt(a) n - sqrt(1 - a) x0 (Salimans & Ho 2022), or the flow
    n - x0 (Liu et al. 2022, arXiv 2209.03003)."""
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "flow":
        return noise - latents
    if prediction_type == "v_prediction":
        a = signal.view(-1, 1, 1, 1)
        return a.sqrt() * noise - (1 - a).sqrt() * latents
    raise ValueError(f"unknown prediction type {prediction_type!r}")


def clean_latents(noisy: Tensor, predicted: Tensor, signal: Tensor, prediction_type: str) -> Tensor:
    """x0 by what the network predicts of x_t (batch, c, h, w): `prediction_target` the other way round."""
    a = signal.view(-1, 1, 1, 1)
    if prediction_type == "epsilon":
        return (noisy - (1 - a).sqrt() * predicted) / a.sqrt()
    if prediction_type == "flow":
        return (noisy - (1 - a).sqrt() * predicted) / (a.sqrt() + (1 - a).sqrt())
    return a.sqrt() * noisy - (1 - a).sqrt() * predicted


def signal_at(levels: Tensor, timestep: Tensor) -> Tensor:
    """The level (1,) at a timestep, which may lie between two: there the logarithm of the noise is linear in time."""
    time = timestep.detach().double().cpu().reshape(1).clamp(0, len(levels) - 1)
    below, above = time.floor().long(), time.ceil().long()
    if bool(below == above):
        return levels[below].clamp(min=LEAST_SIGNAL)
    one, other = (levels[at].double().clamp(min=LEAST_SIGNAL).logit() for at in (below, above))
    return torch.lerp(one, other, time - below).sigmoid().to(levels)


def loss_weights(signal: Tensor, prediction_type: str, objective: Objective) -> Tensor:
    """Weight (batch,) of each example's error, by the signal at its timestep.

    A weighting is a weight of the error of x0: "min-snr" is min(SNR, gamma) (Hang et al. 2023, arXiv 2303.09556),
    "debiased" sqrt(SNR) (Yu et al. 2023, arXiv 2310.08442), "p2" SNR / (1 + SNR) (Choi et al. 2022, arXiv 2204.00227,
    with k = gamma = 1). The error of the noise is SNR times, that of v SNR + 1 times, that of the
    flow (sqrt(SNR) + 1)^2 times the error of x0. "none", and
    "min-snr" without a gamma, weight what the network predicts the same everywhere.
    """
    gamma = objective.min_snr_gamma
    if objective.weighting == "none" or (objective.weighting == "min-snr" and gamma is None):
        return torch.ones_like(signal)
    snr = signal / (1 - signal)
    of_x0 = {
        "min-snr": lambda: snr.clamp(max=gamma),
        "debiased": lambda: snr.sqrt(),
        "p2": lambda: snr / (1 + snr),
    }[objective.weighting]()
    return of_x0 / {"epsilon": snr, "v_prediction": snr + 1, "flow": (snr.sqrt() + 1).square()}[prediction_type]
