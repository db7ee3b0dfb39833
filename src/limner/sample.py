"""Samplers under the webui's names, computed by diffusers' schedulers, and the loop from noise to latents."""

import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2AncestralDiscreteScheduler,
    KDPM2DiscreteScheduler,
    LCMScheduler,
    PNDMScheduler,
    UniPCMultistepScheduler,
)
from torch import Tensor

from limner.base.model import BaseModel
from limner.config import nearest
from limner.device import generator
from limner.errors import UserError
from limner.guidance import Guidance

AUTOMATIC = "Automatic"
Scheduler = Any  # diffusers' schedulers share methods, but no class that declares them
Options = dict[str, Any]
LINSPACE: Options = {"timestep_spacing": "linspace"}
TRAILING: Options = {"timestep_spacing": "trailing"}
KARRAS, EXPONENTIAL = LINSPACE | {"use_karras_sigmas": True}, LINSPACE | {"use_exponential_sigmas": True}
# diffusers' multistep solvers leave out the last of their even steps, which is what the webui calls SGM Uniform
MULTISTEP = {"Karras": KARRAS, "Exponential": EXPONENTIAL, "SGM Uniform": LINSPACE}
SIGMAS = {"Uniform": LINSPACE, "Karras": KARRAS, "Exponential": EXPONENTIAL, "SGM Uniform": TRAILING}
# CompVis' own spacing: every n-th step, beginning with 1
LEADING: Options = {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False}
LEAST_SIGNAL = 2.0**-24  # what diffusers' solvers take for none, where they divide by it


@dataclass(frozen=True)
class Sampler:
    """A sampler: a scheduler class with its options, and the noise schedules that it can follow.

    schedules: by the webui's names, {} for a sampler with one of its own; the first is what Automatic means.
    calls_per_step: calls of the network; the webui counts timed edits in them. max_steps: None for no bound. to_last:
    options with which it begins at the last timestep.
    """

    scheduler: type[Scheduler]
    options: Options = field(default_factory=dict)
    schedules: dict[str, Options] = field(default_factory=dict)
    calls_per_step: int = 1
    max_steps: int | None = None
    to_last: Options = field(default_factory=dict)


def _sde(**options: Any) -> Sampler:
    """An SDE solver, which in the webui follows the exponential schedule."""
    schedules = {"Exponential": EXPONENTIAL} | MULTISTEP
    return Sampler(DPMSolverMultistepScheduler, {"algorithm_type": "sde-dpmsolver++"} | options, schedules)


SAMPLERS = {
    "DPM++ 2M": Sampler(DPMSolverMultistepScheduler, {}, MULTISTEP),
    "DPM++ 2M SDE": _sde(),
    "DPM++ 2M SDE Heun": _sde(solver_type="heun"),
    "DPM++ 3M SDE": _sde(solver_order=3),
    "Euler a": Sampler(EulerAncestralDiscreteScheduler, {}, {"Uniform": LINSPACE, "SGM Uniform": TRAILING}),
    "Euler": Sampler(EulerDiscreteScheduler, {}, SIGMAS),
    "Heun": Sampler(HeunDiscreteScheduler, {}, SIGMAS, calls_per_step=2),
    "DPM2": Sampler(KDPM2DiscreteScheduler, {}, {"Karras": KARRAS} | SIGMAS, calls_per_step=2),
    "DPM2 a": Sampler(KDPM2AncestralDiscreteScheduler, {}, {"Karras": KARRAS} | SIGMAS, calls_per_step=2),
    "DDIM": Sampler(DDIMScheduler, LEADING | {"clip_sample": False}, to_last=TRAILING),
    "PLMS": Sampler(PNDMScheduler, LEADING | {"skip_prk_steps": True}),
    "UniPC": Sampler(
        UniPCMultistepScheduler,
        # the webui's variant; it stops at the last trained noise level, and at no noise at all would divide by zero
        {"solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"},
        {"SGM Uniform": LINSPACE, "Karras": KARRAS, "Exponential": EXPONENTIAL},
    ),
    "LCM": Sampler(LCMScheduler, {"set_alpha_to_one": False}, max_steps=50),
}
# Those of the samplers that can follow a flow, on its own schedule.
FLOW: dict[str, Sampler] = {
    "DPM++ 2M": Sampler(DPMSolverMultistepScheduler, {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
    "Euler": Sampler(FlowMatchEulerDiscreteScheduler),
    "UniPC": Sampler(UniPCMultistepScheduler, {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
}
SCHEDULES = (AUTOMATIC, "Uniform", "Karras", "Exponential", "SGM Uniform")
ALIASES = {
    "k_dpmpp_2m": "DPM++ 2M",
    "k_dpmpp_2m_sde": "DPM++ 2M SDE",
    "k_euler_a": "Euler a",
    "k_euler_ancestral": "Euler a",
    "k_euler": "Euler",
    "k_heun": "Heun",
    "k_dpm_2": "DPM2",
    "k_dpm_2_a": "DPM2 a",
    "k_lcm": "LCM",
}


def find_sampler(name: str, schedule: str = AUTOMATIC) -> tuple[str, str | None]:
    """The sampler's and its schedule's proper names; the schedule is None where the sampler has one of its own.

    Case and spelling like "k_euler_a" or "sgm_uniform" are the webui's; so is "DPM++ 2M Karras" for both in one.
    Raises UserError for an unknown name or a pair that does not go together.
    """
    samplers = {sampler.lower(): sampler for sampler in SAMPLERS} | ALIASES
    schedules = {known.lower(): known for known in SCHEDULES}
    wanted, kind = name.lower().strip(), schedule.lower().strip().replace("_", " ")
    first, _, last = wanted.rpartition(" ")
    if wanted not in samplers and last in schedules and first in samplers:
        wanted = first
        kind = last if kind == AUTOMATIC.lower() else kind
    if wanted not in samplers:
        near = nearest(wanted, samplers)
        meant = f"did you mean {samplers[near]!r}?" if near else f"use one of {', '.join(SAMPLERS)}"
        raise UserError(f"no sampler {name!r}; {meant}")
    if kind not in schedules:
        raise UserError(f"no noise schedule {schedule!r}; use one of {', '.join(SCHEDULES)}")
    sampler = samplers[wanted]
    offered = SAMPLERS[sampler].schedules
    if schedules[kind] == AUTOMATIC:
        return sampler, next(iter(offered), None)
    if schedules[kind] not in offered:
        known = f"it takes {', '.join(offered)}" if offered else "it has a schedule of its own"
        raise UserError(f"sampler {sampler} cannot follow the schedule {schedules[kind]}: {known}; use {AUTOMATIC}")
    return sampler, schedules[kind]


def make_scheduler(model: BaseModel, sampler: str, schedule: str | None) -> Scheduler:
    """A scheduler of diffusers for the model's own noise; names as `find_sampler` returns them.

    A base whose last timestep is pure noise is drawn from there, or it could not decide how bright a picture is (Lin et
    al. 2023, arXiv 2305.08891). Raises UserError if the model is one of flows and the sampler cannot follow them.
    """
    if model.prediction_type == "flow":
        return _flow_scheduler(model, sampler)
    chosen = SAMPLERS[sampler]
    known = inspect.signature(chosen.scheduler.__init__).parameters
    trained = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
    config = {key: model.scheduler_config[key] for key in trained if key in model.scheduler_config}
    is_noise_at_last = bool(model.scheduler_config.get("rescale_betas_zero_snr"))
    if "rescale_betas_zero_snr" in known:
        config["rescale_betas_zero_snr"] = is_noise_at_last
    options = chosen.options | chosen.schedules.get(schedule or "", {}) | (chosen.to_last if is_noise_at_last else {})
    scheduler = chosen.scheduler(**config, **options)
    if is_noise_at_last and "rescale_betas_zero_snr" not in known:
        scheduler.alphas_cumprod = model.alphas_cumprod.clamp(min=LEAST_SIGNAL)
    return scheduler


def _flow_scheduler(model: BaseModel, sampler: str) -> Scheduler:
    if sampler not in FLOW:
        raise UserError(f"sampler {sampler} cannot follow the flows of {model.family.title}; use {' or '.join(FLOW)}")
    chosen = FLOW[sampler]
    shift = "flow_shift" if chosen.options else "shift"
    steps = len(model.alphas_cumprod)
    return chosen.scheduler(num_train_timesteps=steps, **chosen.options, **{shift: model.timestep_shift})


def draw_noise(seeds: list[int], height: int, width: int, channels: int) -> tuple[Tensor, list[torch.Generator]]:
    """Float32 noise (batch, channels, height, width), in latents, and the generators that go on from it, one an image.

    An image's noise comes from its own seed alone, so that it is the same picture in a batch of any size.
    """
    generators = [generator(seed) for seed in seeds]
    return torch.cat([torch.randn((1, channels, height, width), generator=g) for g in generators]), generators


def sample(
    model: BaseModel, guidance: Guidance, scheduler: Scheduler, steps: int, noise: Tensor, generators: list
) -> Tensor:
    """From `draw_noise` to scaled latents of its shape; the solver computes in float32, the network in its dtype."""
    scheduler.set_timesteps(steps, device=model.device)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)  # else a schedule whose first two timesteps round to one starts at the second
    drawn = {"generator": generators} if "generator" in inspect.signature(scheduler.step).parameters else {}
    latents = noise.to(model.device) * getattr(scheduler, "init_noise_sigma", 1.0)
    scale = getattr(scheduler, "scale_model_input", lambda latents, _: latents)
    for call, timestep in enumerate(scheduler.timesteps):
        given, place = model.as_trained(scale(latents, timestep), timestep)
        predicted = guidance.predict(model, given, place, call)
        latents = scheduler.step(predicted, timestep, latents, **drawn, return_dict=False)[0]
    return latents
