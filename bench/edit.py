"""`python -m bench.edit sd1 sdxl`: extract, merge, resize and convert at full size, with random weights.

The base is bench.opening's file, in half precision; the tuned model is it with a LoRA of all its layers merged, and
noise on every weight, so that no difference is of low rank. Each command is a process of its own. Prints one JSON line
for each: seconds of the command (without starting Python), seconds of all processors (with it), the peak of its
resident memory, in units of the checkpoint's size too, and of extract and resize the share of the energy that is kept.
"""

import argparse
import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench.opening import ROOT, make_file

RANK = 32


def make_lora(family: str, rank: int = RANK) -> Path:
    """A LoRA of random numbers of every layer of the transformers and text encoders, if it is not there yet."""
    import torch

    from limner.base import single
    from limner.base.families import UNETS
    from limner.base.published import published
    from limner.formats import save_weights
    from limner.formats.layers import layout_of
    from limner.methods.family import is_chosen
    from limner.weights import Weights

    path = ROOT / f"{family}-lora-{rank}.safetensors"
    if path.exists():
        return path
    configs = published(family)
    networks = {part: single.skeleton(part, configs) for part in single.networks_of(configs)}
    random = torch.Generator().manual_seed(1)
    tensors = {}
    for layer in layout_of(UNETS[family], networks).layers:
        if layer.network == "unet" and not is_chosen(layer.name.removeprefix("unet."), "attention+mlp"):
            continue
        out, *rest = layer.shape
        lengths = torch.linspace(1, 0.1, rank)
        down, up = torch.randn(rank, *rest, generator=random), torch.randn(out, rank, generator=random) * lengths
        tensors[f"{layer.name}.lora_down"] = (down / 100).half()
        tensors[f"{layer.name}.lora_up"] = (up / 10).reshape(out, rank, *[1] * (len(rest) - 1)).half()
        tensors[f"{layer.name}.alpha"] = torch.tensor(float(rank))
    return save_weights(Weights("lora", family, tensors), path).path


def make_tuned(family: str) -> Path:
    """The base with a LoRA merged, and noise a tenth as large on every weight of the UNet, if it is not there yet."""
    import torch

    from limner.container import open_tensors
    from limner.container.header import in_order
    from limner.container.writer import writing

    path, merged = ROOT / f"{family}-tuned.safetensors", ROOT / f"{family}-merged.safetensors"
    if path.exists():
        return path
    random = torch.Generator().manual_seed(2)
    with open_tensors(merged) as file, writing(path, file.shapes, file.dtypes, file.metadata) as writer:
        for key in in_order(file.dtypes):
            tensor = file.get(key)
            if key.startswith("model.diffusion_model."):
                tensor = (tensor.float() + 2e-4 * torch.randn(tensor.shape, generator=random)).half()
            writer.add(tensor)
    return path


def run(family: str, name: str, *arguments: str | Path) -> dict[str, Any]:
    """One command's figures."""
    command = [sys.executable, "-m", "limner", name, *map(str, arguments), "--overwrite", "--quiet", "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    said = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    size = (ROOT / f"{family}.safetensors").stat().st_size
    found = {"family": family, "command": name, "seconds": said["seconds"], "cpu_seconds": round(worked, 1)}
    found |= {"peak_gb": round(said["peak_memory_bytes"] / 1e9, 2), "checkpoint_gb": round(size / 1e9, 2)}
    found["peak_of_checkpoint"] = round(said["peak_memory_bytes"] / size, 2)
    found["file_mb"] = round(said["size_bytes"] / 1e6, 1)
    if "energy" in said:
        found["energy"] = {block: round(share, 4) for block, share in said["energy"].items()}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="+", choices=("sd1", "sd2", "sdxl"))
    for family in parser.parse_args().families:
        base, lora = make_file(family), make_lora(family)
        merged, small, out = (ROOT / f"{family}-{name}.safetensors" for name in ("merged", "small", "extracted"))
        print(json.dumps(run(family, "merge", base, merged, "--lora", f"{lora}:0.8")), flush=True)
        tuned = make_tuned(family)
        extract = ("extract", tuned, base, out, "--rank", str(RANK), "--text-encoder")
        print(json.dumps(run(family, *extract)), flush=True)
        print(json.dumps(run(family, "resize", lora, small, "--rank", str(RANK // 4))), flush=True)
        both = (lora, small, "--into", "lora", "--lora", lora, "--rank", str(RANK))
        print(json.dumps(run(family, "merge", *both)), flush=True)
        print(json.dumps(run(family, "convert", base, ROOT / f"{family}-folder")), flush=True)


if __name__ == "__main__":
    main()
