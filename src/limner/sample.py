"""From noise to latents: the webui's samplers, computed by diffusers' schedulers, step by step."""

import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import diffusers
import torch
from torch import Tensor

from limner.base.model import BaseModel
from limner.device import generator
from limner.diffusion import LEAST_SIGNAL, clean_latents, prediction_target, signal_at
from limner.errors import UserError
from limner.generators import finish
from limner.guidance import Guidance
from limner.samplers import FLOW, SAMPLERS

Scheduler = Any  # diffusers' schedulers share methods, but no class that declares them


def make_scheduler(model: BaseModel, sampler: str, schedule: str | None) -> Scheduler:
    """A scheduler of diffusers for the model's own noise; names as `find_sampler` returns them.

    A base whose last timestep is pure noise is drawn from there, or it could not decide how bright a picture is (Lin et
    al. 2023, arXiv 2305.08891). Raises UserError if the model is one of flows and the sampler cannot follow them.
    """
    if model.prediction_type == "flow":
        return _flow_scheduler(model, sampler)
    chosen = SAMPLERS[sampler]
    kind = getattr(diffusers, chosen.scheduler)
    known = inspect.signature(kind.__init__).parameters
    trained = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
    config = {key: model.scheduler_config[key] for key in trained if key in model.scheduler_config}
    is_noise_at_last = bool(model.scheduler_config.get("rescale_betas_zero_snr"))
    if "rescale_betas_zero_snr" in known:
        config["rescale_betas_zero_snr"] = is_noise_at_last
    options = chosen.options | chosen.schedules.get(schedule or "", {}) | (chosen.to_last if is_noise_at_last else {})
    scheduler = kind(**config, **options)
    if is_noise_at_last and "rescale_betas_zero_snr" not in known:
        scheduler.alphas_cumprod = model.alphas_cumprod.clamp(min=LEAST_SIGNAL)
    return scheduler


def _flow_scheduler(model: BaseModel, sampler: str) -> Scheduler:
    if sampler not in FLOW:
        raise UserError(f"sampler {sampler} cannot follow the flows of {model.family.title}; use {' or '.join(FLOW)}")
    chosen = FLOW[sampler]
    shift = "flow_shift" if chosen.options else "shift"
    steps = len(model.alphas_cumprod)
    return getattr(diffusers, chosen.scheduler)(
        num_train_timesteps=steps, **chosen.options, **{shift: model.timestep_shift}
    )


def draw_noise(seeds: list[int], height: int, width: int, channels: int) -> tuple[Tensor, list[torch.Generator]]:
    """Float32 noise (batch, channels, height, width), in latents, and the generators that go on from it, one an image.

    An image's noise comes from its own seed alone, so that it is the same picture in a batch of any size.
    """
    generators = [generator(seed) for seed in seeds]
    return torch.cat([torch.randn((1, channels, height, width), generator=g) for g in generators]), generators


@dataclass(frozen=True)
class Start:
    """What sampling starts from if not from noise alone.

    latents: float32 (batch, c, h, w), scaled. first: the step to begin with, those before it being left out. mask: of
    0..1, (1, 1, h, w), how far each place is drawn anew; None for all.
    """

    latents: Tensor
    first: int
    mask: Tensor | None = None


@dataclass(frozen=True)
class Denoised:
    """A step is done, `step` of `steps`; solvers of second order tell each twice."""

    step: int
    steps: int
    _estimate: Callable[[], Tensor] = field(repr=False, compare=False)

    @property
    def latents(self) -> Tensor:
        """What the batch would be without its noise, as far as can be told: float32 (batch, c, h, w)."""
        return self._estimate()


def sampling(
    model: BaseModel,
    guidance: Guidance,
    scheduler: Scheduler,
    steps: int,
    noise: Tensor,
    generators: list,
    start: Start | None = None,
) -> Generator[Denoised, None, Tensor]:
    """From `draw_noise` to scaled latents of its shape; the solver computes in float32, the network in its dtype."""
    scheduler.set_timesteps(steps, device=model.device)
    first = 0 if start is None else start.first * scheduler.order
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(first)  # else a schedule whose first two timesteps round to one starts at the second
    drawn = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
    timesteps = scheduler.timesteps[first:]
    latents = noise.to(model.device)
    if start is None:
        latents = latents * getattr(scheduler, "init_noise_sigma", 1.0)
    else:
        add = getattr(scheduler, "add_noise", None) or scheduler.scale_noise
        latents = add(start.latents, latents, timesteps[:1])
    scale = getattr(scheduler, "scale_model_input", lambda latents, _: latents)
    total = _step(len(timesteps) - 1, scheduler)
    for call, timestep in enumerate(timesteps):
        given, place = model.as_trained(scale(latents, timestep), timestep)
        predicted = guidance.predict(model, given, place, call)
        if start is not None and start.mask is not None:
            predicted = _only_where(start.mask, predicted, _leading_to(model, start.latents, given, place))
        latents = scheduler.step(predicted, timestep, latents, **drawn, return_dict=False)[0]
        yield Denoised(_step(call, scheduler), total, partial(_without_noise, model, given, place, predicted))
    return latents if start is None or start.mask is None else _only_where(start.mask, latents, start.latents)


def count_steps(scheduler: Scheduler, steps: int, first: int = 0) -> int:
    """How many steps `sampling` tells of a schedule of so many that is begun at the step `first`."""
    scheduler.set_timesteps(steps)
    return _step(len(scheduler.timesteps) - first * scheduler.order - 1, scheduler)


def _step(call: int, scheduler: Scheduler) -> int:
    """The number, from 1, of the step that the network's call belongs to."""
    return (call + scheduler.order) // scheduler.order


def _only_where(mask: Tensor, new: Tensor, old: Tensor) -> Tensor:
    return mask * new + (1 - mask) * old


def _leading_to(model: BaseModel, latents: Tensor, given: Tensor, timestep: Tensor) -> Tensor:
    """The prediction by which a solver that holds `given` arrives at `latents`."""
    a = signal_at(model.alphas_cumprod, timestep).to(given)
    noise = (given - a.sqrt() * latents) / (1 - a).sqrt()
    return prediction_target(latents, noise, a, model.prediction_type)


def _without_noise(model: BaseModel, given: Tensor, timestep: Tensor, predicted: Tensor) -> Tensor:
    return clean_latents(given, predicted, signal_at(model.alphas_cumprod, timestep).to(given), model.prediction_type)


def sample(
    model: BaseModel, guidance: Guidance, scheduler: Scheduler, steps: int, noise: Tensor, generators: list
) -> Tensor:
    """`sampling` to its end."""
    return finish(sampling(model, guidance, scheduler, steps, noise, generators))
