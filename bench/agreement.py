"""`python -m bench.agreement LORA`: the same LoRA and noise through `limner generate` and through diffusers alone.

Both draw with the pocket base in float32; prints, for each sampler, the largest difference of a pixel in 0..255, as one
JSON line.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline

from limner.base.open import open_base
from limner.base.pocket import FOLDER, NAME
from limner.generate import Request, generate
from limner.named import PromptFiles
from limner.sample import make_scheduler
from limner.samplers import find_sampler

PROMPTS = ("a fox, fxm style, on a white background", "a rocket, fxm style", "a strawberry on a blue background")
SAMPLERS = ("DPM++ 2M", "Euler", "Euler a", "DDIM", "UniPC")
SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lora", type=Path)
    lora: Path = parser.parse_args().lora
    model = open_base(NAME, torch.device("cpu"), torch.float32)
    files = PromptFiles(lora)
    pipeline = StableDiffusionPipeline.from_pretrained(FOLDER, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    pipeline.load_lora_weights(lora)
    largest = {}
    for sampler in SAMPLERS:
        pipeline.scheduler = make_scheduler(model, *find_sampler(sampler))
        differences = []
        for prompt in PROMPTS:
            request = Request(f"{prompt} <lora:{lora.stem}:1>", sampler=sampler, seed=SEED)
            (ours,) = generate(model, request, files)
            theirs = pipeline(
                prompt,
                num_inference_steps=request.steps,
                guidance_scale=request.cfg_scale,
                generator=torch.Generator().manual_seed(SEED),
            ).images[0]
            differences.append(np.abs(np.asarray(ours.image).astype(int) - np.asarray(theirs).astype(int)).max())
        largest[sampler] = int(max(differences))
    print(json.dumps({"largest_pixel_difference": largest, "prompts": len(PROMPTS)}))


if __name__ == "__main__":
    main()
