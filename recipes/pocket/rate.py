"""`python -m recipes.pocket.rate [BATCH ...]`: what an image costs the UNet's training, in seconds of one core.

Times are the process's own, not the clock's, on one thread: a busy machine changes them little, and ratios hardly.
"""

import json
import sys
import time
from collections.abc import Callable

import torch
from diffusers.models.attention_processor import AttnProcessor, AttnProcessor2_0

from recipes.pocket import SIZE, clip
from recipes.pocket.training import MasterAdamW, MasterMuon, compile_blocks
from recipes.pocket.unet import new_unet

REPEATS = 2


def cost(run: Callable[[], object], warm: int = 1) -> float:
    """Least seconds of the process that a call takes."""
    for _ in range(warm):
        run()
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        run()
        taken.append(time.process_time() - start)
    return min(taken)


def measure(batch: int, compiled: bool = False, fused: bool = False, channels_last: bool = True) -> None:
    torch.manual_seed(0)
    memory = torch.channels_last if channels_last else torch.contiguous_format
    unet = new_unet().to(torch.bfloat16, memory_format=memory)
    unet.set_attn_processor(AttnProcessor2_0() if fused else AttnProcessor())
    if compiled:
        compile_blocks(unet)
    latents = torch.randn(batch, 4, SIZE // 8, SIZE // 8).to(torch.bfloat16, memory_format=memory)
    text = torch.randn(batch, 77, clip.WIDTH, dtype=torch.bfloat16)
    timesteps = torch.randint(0, 1000, (batch,))

    def forward_and_back() -> None:
        unet(latents, timesteps, text).sample.float().square().mean().backward()

    found: dict[str, float] = {"batch": batch, "compiled": compiled, "fused": fused, "channels_last": channels_last}
    found["milliseconds an image"] = round(cost(forward_and_back) / batch * 1000, 1)
    for kind in (MasterAdamW, MasterMuon):
        optimizer = kind(unet.parameters(), weight_decay=0.01, ema_decay=0.999)

        def step(optimizer: MasterAdamW = optimizer) -> None:
            for parameter in optimizer.parameters:
                parameter.grad = torch.ones_like(parameter)
            optimizer.step(1e-6, 1)

        found[f"{kind.__name__}, seconds a step"] = round(cost(step, warm=1), 2)
    print(json.dumps(found), flush=True)


def main() -> None:
    torch.set_num_threads(1)
    batches = [int(each) for each in sys.argv[1:]] or [32, 128]
    for batch in batches:
        measure(batch)
    measure(batches[0], fused=True)
    measure(batches[0], channels_last=False)
    for batch in batches:  # last: compiling takes minutes
        measure(batch, compiled=True)


if __name__ == "__main__":
    main()
