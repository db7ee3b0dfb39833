"""The samplers and noise schedules that there are, by the webui's names. Loads no torch."""

from dataclasses import dataclass, field
from typing import Any

from limner.config import nearest
from limner.errors import UserError

AUTOMATIC = "Automatic"
Options = dict[str, Any]
LINSPACE: Options = {"timestep_spacing": "linspace"}
TRAILING: Options = {"timestep_spacing": "trailing"}
KARRAS, EXPONENTIAL = LINSPACE | {"use_karras_sigmas": True}, LINSPACE | {"use_exponential_sigmas": True}
# diffusers' multistep solvers leave out the last of their even steps, which is what the webui calls SGM Uniform
MULTISTEP = {"Karras": KARRAS, "Exponential": EXPONENTIAL, "SGM Uniform": LINSPACE}
SIGMAS = {"Uniform": LINSPACE, "Karras": KARRAS, "Exponential": EXPONENTIAL, "SGM Uniform": TRAILING}
# CompVis' own spacing: every n-th step, beginning with 1
LEADING: Options = {"timestep_spacing": "leading", "steps_offset": 1, "set_alpha_to_one": False}


@dataclass(frozen=True)
class Sampler:
    """A sampler: the name of diffusers' scheduler class with its options, and the noise schedules that it can follow.

    schedules: by the webui's names, {} for a sampler with one of its own; the first is what Automatic means.
    calls_per_step: calls of the network; the webui counts timed edits in them. max_steps: None for no bound. to_last:
    options with which it begins at the last timestep.
    """

    scheduler: str
    options: Options = field(default_factory=dict)
    schedules: dict[str, Options] = field(default_factory=dict)
    calls_per_step: int = 1
    max_steps: int | None = None
    to_last: Options = field(default_factory=dict)


def _sde(**options: Any) -> Sampler:
    """An SDE solver, which in the webui follows the exponential schedule."""
    schedules = {"Exponential": EXPONENTIAL} | MULTISTEP
    return Sampler("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"} | options, schedules)


SAMPLERS = {
    "DPM++ 2M": Sampler("DPMSolverMultistepScheduler", {}, MULTISTEP),
    "DPM++ 2M SDE": _sde(),
    "DPM++ 2M SDE Heun": _sde(solver_type="heun"),
    "DPM++ 3M SDE": _sde(solver_order=3),
    "Euler a": Sampler("EulerAncestralDiscreteScheduler", {}, {"Uniform": LINSPACE, "SGM Uniform": TRAILING}),
    "Euler": Sampler("EulerDiscreteScheduler", {}, SIGMAS),
    "Heun": Sampler("HeunDiscreteScheduler", {}, SIGMAS, calls_per_step=2),
    "DPM2": Sampler("KDPM2DiscreteScheduler", {}, {"Karras": KARRAS} | SIGMAS, calls_per_step=2),
    "DPM2 a": Sampler("KDPM2AncestralDiscreteScheduler", {}, {"Karras": KARRAS} | SIGMAS, calls_per_step=2),
    "DDIM": Sampler("DDIMScheduler", LEADING | {"clip_sample": False}, to_last=TRAILING),
    "PLMS": Sampler("PNDMScheduler", LEADING | {"skip_prk_steps": True}),
    "UniPC": Sampler(
        "UniPCMultistepScheduler",
        # the webui's variant; it stops at the last trained noise level, and at no noise at all would divide by zero
        {"solver_order": 3, "solver_type": "bh1", "final_sigmas_type": "sigma_min"},
        {"SGM Uniform": LINSPACE, "Karras": KARRAS, "Exponential": EXPONENTIAL},
    ),
    "LCM": Sampler("LCMScheduler", {"set_alpha_to_one": False}, max_steps=50),
}
# Those of the samplers that can follow a flow, on its own schedule.
FLOW: dict[str, Sampler] = {
    "DPM++ 2M": Sampler("DPMSolverMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
    "Euler": Sampler("FlowMatchEulerDiscreteScheduler"),
    "UniPC": Sampler("UniPCMultistepScheduler", {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}),
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
