"""`python -m bench.norm`: group normalisation in half precision beside torch's own, forward and with its backward.

A line for each shape (batch, channels, height, width): 32 groups, channels_last, bfloat16. One JSON line at the end has
torch's time over ours. Run it on an idle machine; OMP_NUM_THREADS says on how many threads.
"""

import json
import time
from collections.abc import Callable

import torch
from torch import nn

from limner.base.norm import use_by_shape

SHAPES = ((8, 64, 16, 16), (8, 128, 16, 16), (8, 192, 8, 8), (8, 256, 8, 8), (8, 384, 4, 4), (1, 320, 16, 16))
ROUNDS = 30


def best(run: Callable[[], object]) -> float:
    """The fastest of ROUNDS, seconds."""
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        run()
        times.append(time.perf_counter() - began)
    return min(times)


def seconds(norm: nn.Module, shape: tuple[int, ...]) -> tuple[float, float]:
    """Of a pass forward, and of one forward and backward to the inputs alone."""
    inputs, grad = (torch.randn(shape).bfloat16().contiguous(memory_format=torch.channels_last) for _ in range(2))
    inputs.requires_grad_()

    def forward() -> None:
        with torch.no_grad():
            norm(inputs)

    def both() -> None:
        inputs.grad = None
        norm(inputs).backward(grad)

    return best(forward), best(both)


def main() -> None:
    ratios = {}
    for shape in SHAPES:
        theirs, ours = (nn.Sequential(nn.GroupNorm(32, shape[1])).bfloat16().requires_grad_(False) for _ in range(2))
        use_by_shape(ours)
        their, our = seconds(theirs, shape), seconds(ours, shape)
        ratios[str(shape)] = [round(their[0] / our[0], 2), round(their[1] / our[1], 2)]
        print(shape, "torch", [round(1e3 * each, 3) for each in their], "ours", [round(1e3 * each, 3) for each in our])
    print(json.dumps({"forward and both, torch over ours": ratios, "threads": torch.get_num_threads()}))


if __name__ == "__main__":
    main()
