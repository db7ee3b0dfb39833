"""Ten steps that every refactoring reproduces: noise, timesteps, targets, weights, gradients and optimizer in one.

The figures belong to the tiny base of tests/conftest.py in float32. If a change of them is meant, say so in the commit
and write the new ones down.
"""

import pytest
from training import losses, run

from limner.base.model import BaseModel
from limner.diffusion import Objective
from limner.methods.lora import LoRA, LoRAConfig
from limner.train import Plan

LOSSES = {
    "adamw": [
        1.2078711,
        0.6069181,
        1.1706247,
        1.016845,
        1.1620828,
        1.0990868,
        0.5568792,
        0.6274862,
        0.9328305,
        0.7424158,
    ],
    "prodigy": [
        1.1871623,
        1.0452919,
        1.1293346,
        1.1115322,
        1.1557438,
        1.0772731,
        1.1554247,
        1.1278819,
        1.1373654,
        1.0691176,
    ],
}
EVERYWHERE = LoRAConfig(layers="all")
PLANS = {
    "adamw": (Plan(steps=10, learning_rate=1e-2, warmup_steps=2, seed=1), LoRAConfig(rank=4)),
    "prodigy": (
        Plan(steps=10, optimizer="prodigy", gradient_accumulation=2, objective=Objective(min_snr_gamma=None)),
        LoRAConfig(layers="all"),
    ),
}


@pytest.mark.parametrize("name", PLANS)
def test_ten_steps_are_what_they_were(tiny_base: BaseModel, name: str) -> None:
    plan, config = PLANS[name]
    events, _ = run(tiny_base, plan, [LoRA(config)])
    assert losses(events) == pytest.approx(LOSSES[name], rel=2e-5)
