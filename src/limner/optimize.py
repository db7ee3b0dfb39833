"""Optimizers and learning-rate schedules: tables over libraries."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from prodigyopt import Prodigy

from limner.config import nearest
from limner.errors import UserError
from limner.methods.method import ParamGroup


@dataclass(frozen=True)
class OptimizerEntry:
    """make: parameter groups -> optimizer. learning_rate: its default. one_rate: all groups must share a rate."""

    make: Callable[[list[dict[str, Any]]], torch.optim.Optimizer]
    learning_rate: float
    one_rate: bool = False


def _adamw(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    fused = groups[0]["params"][0].device.type in ("cpu", "cuda")
    return torch.optim.AdamW(groups, betas=(0.9, 0.99), weight_decay=0.01, fused=fused)


def _prodigy(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    # Its authors' advice for diffusion models: bias correction, and no step-size estimates from the warm-up. From the
    # library's first step size, 1e-6, it took 90 steps of a LoRA to find its own (7e-3); from 1e-4, a tenth of AdamW's
    # rate, 60: a run here has a few hundred.
    return Prodigy(groups, use_bias_correction=True, safeguard_warmup=True, d0=1e-4)


def _adafactor(groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    # Shazeer & Stern 2018 (arXiv 1804.04235): a row's and a column's mean square in place of a number for each weight,
    # and no momentum. Its steps are relative to a tensor's size, but never to less than the second eps: at 1 the rate
    # is AdamW's, and what starts from zero, as a LoRA's, can leave it.
    return torch.optim.Adafactor(groups, eps=(None, 1.0))


# AdamW's rate is for LoRA at alpha 1: 2.5e-4 at alpha = rank = 16, times sqrt(16). Prodigy finds its own.
OPTIMIZERS = {
    "adamw": OptimizerEntry(_adamw, learning_rate=1e-3),
    "adafactor": OptimizerEntry(_adafactor, learning_rate=1e-3),
    "prodigy": OptimizerEntry(_prodigy, learning_rate=1.0, one_rate=True),
}

# Share of the steps done (0..1) -> share of the learning rate.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "linear": lambda done: 1 - done,
}


def make_optimizer(name: str, groups: list[ParamGroup], learning_rate: float | None) -> torch.optim.Optimizer:
    """An optimizer over the methods' parameters; a rate of None is the optimizer's own.

    Each group carries "peak", the rate that the schedule scales. Prodigy has one rate, so lr_scale does not act there.
    Raises UserError for an unknown name.
    """
    entry = OPTIMIZERS[known(name, OPTIMIZERS, "optimizer")]
    rate = entry.learning_rate if learning_rate is None else learning_rate
    peaks = [rate if entry.one_rate else rate * group.lr_scale for group in groups]
    return entry.make(
        [{"params": g.parameters, "lr": peak, "peak": peak} for g, peak in zip(groups, peaks, strict=True)]
    )


def set_rate(optimizer: torch.optim.Optimizer, schedule: str, step: int, steps: int, warmup_steps: int) -> None:
    """Set the rates for a step, counted from 0: a pure function of it, so that there is no state to resume."""
    factor = rate_factor(schedule, step, steps, warmup_steps)
    for group in optimizer.param_groups:
        group["lr"] = group["peak"] * factor


def rate_factor(schedule: str, step: int, steps: int, warmup_steps: int) -> float:
    """Share of the learning rate at a step: a linear rise over the warm-up, then the schedule over what is left."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    done = (step - warmup_steps) / max(steps - warmup_steps, 1)
    return SCHEDULES[known(schedule, SCHEDULES, "schedule")](min(done, 1.0))


def known(name: str, table: dict[str, Any], what: str) -> str:
    """The name itself. Raises UserError if the table lacks it."""
    if name not in table:
        raise UserError(f"no {what} {name!r}; use {nearest(name, table) or ', '.join(table)}")
    return name
