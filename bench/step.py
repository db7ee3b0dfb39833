"""`python -m bench.step --family sd1`: seconds and peak memory of training steps at full size, on random weights.

The networks are made as that family's published ones, without the VAE, which has no part in a step: a LoRA's default
settings, one picture of the family's own size. On a busy machine read the time of the processors, summed over all
threads. Prints a line for each step, and one JSON line.
"""

import argparse
import json
import time

import torch
from transformers import CLIPTokenizerFast

from limner.base import pocket, single
from limner.base.attention import AttentionByShape
from limner.base.families import UNETS
from limner.base.model import BaseModel
from limner.base.norm import use_by_shape
from limner.base.published import published
from limner.data.batch import Batches, Example
from limner.device import DTYPES, generator, peak_memory_bytes
from limner.events import Step
from limner.methods.lora import LoRA, LoRAConfig
from limner.train import Plan, train


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--family", choices=sorted(UNETS), default="sd1")
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--side", type=int, default=0, help="pixels; by default the family's own")
    parser.add_argument("--precision", choices=sorted(DTYPES), default="bf16")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    given = parser.parse_args()
    torch.manual_seed(0)
    model = random_model(given.family, DTYPES[given.precision])
    side = (given.side or model.family.resolution) // 8
    with torch.no_grad():
        told = model.encode_prompts(["a photo of a zqvx dog"])
    example = Example(torch.randn(4, side, side, generator=generator(1)), "a photo of a zqvx dog", told)
    loaded = peak_memory_bytes()
    plan = Plan(steps=given.steps, learning_rate=1e-4, gradient_checkpointing=given.gradient_checkpointing)
    seconds, of_processor = [], []
    began, began_processor = time.perf_counter(), time.process_time()
    for event in train(model, Batches([example], 1, seed=0), [LoRA(LoRAConfig())], plan):
        if isinstance(event, Step):
            seconds.append(round(time.perf_counter() - began, 2))
            of_processor.append(round(time.process_time() - began_processor, 2))
            print(f"step {event.step}: loss {event.loss:.4f}, {seconds[-1]} s, {of_processor[-1]} s of the processors")
            began, began_processor = time.perf_counter(), time.process_time()
    figures = {
        "seconds": seconds,
        "processor_seconds": of_processor,
        "loaded_bytes": loaded,
        "peak_bytes": peak_memory_bytes(),
    }
    print(json.dumps(figures | vars(given) | {"threads": torch.get_num_threads()}))


def random_model(family: str, dtype: torch.dtype) -> BaseModel:
    """A base of a family's published make, untrained; its autoencoder is of no weight."""
    configs, found = published(family), UNETS[family]
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        networks = {part: single.NETWORKS[part].from_config(configs[part]) for part in ("unet",)}
        with torch.device("meta"):
            networks["vae"] = single.NETWORKS["vae"].from_config(configs["vae"])
        for encoder in found.encoders:
            kind = single.NETWORKS[encoder.name]
            networks[encoder.name] = kind(kind.config_class(**configs[encoder.name]))
    finally:
        torch.set_default_dtype(before)
    networks["unet"].to(memory_format=torch.channels_last)
    networks["unet"].set_attn_processor(AttentionByShape())
    use_by_shape(networks["unet"])
    vocabulary = CLIPTokenizerFast.from_pretrained(pocket.FOLDER / "tokenizer", local_files_only=True)
    scheduler = single.scheduler(configs)
    return BaseModel(
        found,
        f"random {family}",
        lambda: "random",
        networks,
        {encoder.name: vocabulary for encoder in found.encoders},
        dict(scheduler.config),
        scheduler.alphas_cumprod.float(),
    )


if __name__ == "__main__":
    main()
