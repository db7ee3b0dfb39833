"""`python -m bench.opening sd1 sdxl`: open full-size single files by Limner and by diffusers' from_single_file.

The files have the published models' tensors with random numbers in half precision; they are made once, in build/. Each
opening is a fresh process, on the CPU in float16, told where diffusers finds its configurations, and both read the file
from the system's cache. The libraries' import and what it takes are not counted. Prints one JSON line a family: seconds
and peak memory of each, in units of the tensors' size too, and Limner's share of diffusers'.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path("build") / "opening"
KINDS = {"sd1": "StableDiffusionPipeline", "sd2": "StableDiffusionPipeline", "sdxl": "StableDiffusionXLPipeline"}


def make_file(family: str) -> Path:
    """A family's single file of full size, if it is not there yet."""
    import torch

    from limner.base import single
    from limner.base.model import weights_of
    from limner.base.original import completion, places
    from limner.base.published import published
    from limner.container.header import in_order
    from limner.container.writer import writing

    path = ROOT / f"{family}.safetensors"
    if path.exists():
        return path
    ROOT.mkdir(parents=True, exist_ok=True)
    configs = published(family)
    shapes = {key: tuple(tensor.shape) for key, tensor in completion(configs).items()}
    for part in single.networks_of(configs):
        own = {f"{part}.{name}": tuple(t.shape) for name, t in weights_of(single.skeleton(part, configs)).items()}
        shapes |= {key: its.shape(own[name]) for key, ((name, its), *_) in places(own, configs).items()}
    random = torch.Generator().manual_seed(0)
    dtypes = dict.fromkeys(shapes, torch.float16)
    with writing(path, shapes, dtypes, {"format": "pt"}) as writer:
        for key in in_order(dtypes):
            writer.add(torch.randn(shapes[key], generator=random).div_(30).half())
    return path


def make_configs(family: str) -> Path:
    """A folder of configurations and vocabularies, as from_single_file wants it."""
    from diffusers import DDIMScheduler

    from limner.base import pocket, single
    from limner.base.families import FAMILIES
    from limner.base.folder import load_tokenizer
    from limner.base.published import PADS, published

    folder, configs = ROOT / f"{family}-configs", published(family)
    index: dict[str, Any] = {"_class_name": KINDS[family], "scheduler": ["diffusers", "DDIMScheduler"]}
    for part in single.networks_of(configs):
        network = single.skeleton(part, configs)
        (network.config.save_pretrained if part.startswith("text") else network.save_config)(folder / part)
        index[part] = ["transformers" if part.startswith("text") else "diffusers", type(network).__name__]
    for encoder in FAMILIES[family].encoders:
        pad = PADS.get(family, {}).get(encoder.name)
        load_tokenizer(pocket.FOLDER, "tokenizer", pad).save_pretrained(folder / encoder.tokenizer)
        index[encoder.tokenizer] = ["transformers", "CLIPTokenizer"]
    DDIMScheduler.from_config(configs["scheduler"]).save_pretrained(folder / "scheduler")
    if family != "sdxl":
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def open_once(how: str, family: str) -> dict[str, float]:
    """Open the file in this process."""
    import torch

    from limner.device import peak_memory_bytes

    path = ROOT / f"{family}.safetensors"
    if how == "limner":
        from limner.base.open import open_base

        before, began = peak_memory_bytes(), time.perf_counter()
        kept: Any = open_base(path, torch.device("cpu"), torch.float16)
    else:
        import diffusers

        kind = getattr(diffusers, KINDS[family])
        before, began = peak_memory_bytes(), time.perf_counter()
        kept = kind.from_single_file(
            str(path), config=str(ROOT / f"{family}-configs"), torch_dtype=torch.float16, local_files_only=True
        )
    seconds = time.perf_counter() - began
    assert kept is not None
    return {"seconds": seconds, "bytes": peak_memory_bytes() - before}


def measure(family: str, rounds: int) -> dict[str, Any]:
    path = make_file(family)
    make_configs(family)
    size = path.stat().st_size
    found: dict[str, Any] = {"family": family, "file_gb": round(size / 1e9, 3)}
    for _ in range(rounds):
        for how in ("limner", "diffusers"):
            with path.open("rb") as stream:  # both find the file in the system's cache, if it fits
                while stream.read(2**24):
                    pass
            command = [sys.executable, "-m", "bench.opening", family, "--once", how]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            found.setdefault(how, []).append(json.loads(said))
    for how in ("limner", "diffusers"):
        runs = found.pop(how)
        seconds, peak = statistics.median(run["seconds"] for run in runs), max(run["bytes"] for run in runs)
        found |= {f"{how}_seconds": round(seconds, 2), f"{how}_peak_gb": round(peak / 1e9, 2)}
        found[f"{how}_peak_of_tensors"] = round(peak / size, 2)
    found["seconds_ratio"] = round(found["limner_seconds"] / found["diffusers_seconds"], 2)
    found["peak_ratio"] = round(found["limner_peak_gb"] / found["diffusers_peak_gb"], 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="+", choices=KINDS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--once", choices=("limner", "diffusers"), help="open in this process; what the bench calls")
    arguments = parser.parse_args()
    for family in arguments.families:
        result = open_once(arguments.once, family) if arguments.once else measure(family, arguments.rounds)
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main()
