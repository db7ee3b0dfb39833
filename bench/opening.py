"""`python -m bench.opening sd1 sdxl`: open full-size single files by Limner and by diffusers' from_single_file.

The files have the published models' tensors with random numbers in half precision; they are made once, in build/. Each
opening is a fresh process on the CPU, in bfloat16, which Limner computes in on CPUs, or in the file's own float16.
diffusers is told where it finds its configurations, and both read the file from the system's cache. The libraries'
import and what it takes are not counted. In the file's own precision diffusers only maps the file, to be read when a
weight is first used; so after opening, every weight is read once, and both figures are given. Limner's opening includes
its look at what the model predicts, for these files do not say it; without it is told too.

Prints one JSON line for each family and precision: seconds until opened and until all is read, seconds of the processor
(other work on the machine hardly changes them), peak memory in GB and in the size of the tensors, and Limner's share.
"""

import argparse
import json
import math
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
    from limner.files import atomic_path

    path = ROOT / f"{family}.safetensors"
    if path.exists():
        return path
    ROOT.mkdir(parents=True, exist_ok=True)
    configs = published(family)
    shapes = {key: tuple(tensor.shape) for key, tensor in completion(configs).items()}
    for part in single.networks_of(configs):
        own = {f"{part}.{name}": tuple(t.shape) for name, t in weights_of(single.skeleton(part, configs)).items()}
        shapes |= {key: its.shape(own[name]) for key, ((name, its), *_) in places(own, configs).items()}
    numbers = torch.randn(2**22, generator=torch.Generator().manual_seed(0)).div_(30).half()
    dtypes = dict.fromkeys(shapes, torch.float16)
    with atomic_path(path) as temporary, writing(temporary, shapes, dtypes, {"format": "pt"}) as writer:
        for key in in_order(dtypes):
            count = math.prod(shapes[key])
            writer.add(numbers.repeat(-(-count // len(numbers)))[:count].view(shapes[key]))
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


def open_once(how: str, family: str, precision: str) -> dict[str, float]:
    """Open the file in this process."""
    import torch

    from limner.device import DTYPES, peak_memory_bytes

    path, dtype = ROOT / f"{family}.safetensors", DTYPES[precision]
    found: dict[str, float] = {}
    if how == "limner":
        from limner.base import open as opening

        def probe(model: Any) -> Any:
            began = time.perf_counter()
            verdict = plain(model)
            found["probe"] = time.perf_counter() - began
            return verdict

        plain, opening.probe = opening.probe, probe
        before, began, used = peak_memory_bytes(), time.perf_counter(), time.process_time()
        networks = list(opening.open_base(path, torch.device("cpu"), dtype).networks.values())
    else:
        import diffusers

        kind = getattr(diffusers, KINDS[family])
        before, began, used = peak_memory_bytes(), time.perf_counter(), time.process_time()
        opened = kind.from_single_file(
            str(path), config=str(ROOT / f"{family}-configs"), torch_dtype=dtype, local_files_only=True
        )
        networks = [part for part in opened.components.values() if isinstance(part, torch.nn.Module)]
    found |= {"opened": time.perf_counter() - began, "opened_gb": (peak_memory_bytes() - before) / 1e9}
    for network in networks:
        for parameter in network.parameters():
            parameter.view(-1)[:: 2048 // dtype.itemsize].sum() if parameter.is_contiguous() else parameter.sum()
    found |= {"read": time.perf_counter() - began, "processor": time.process_time() - used}
    return found | {"peak_gb": (peak_memory_bytes() - before) / 1e9}


def measure(family: str, precision: str, rounds: int) -> dict[str, Any]:
    """The medians of some rounds, in which the two take turns, and the ratios."""
    path = make_file(family)
    make_configs(family)
    size = path.stat().st_size / 1e9
    runs: dict[str, list[dict[str, float]]] = {"limner": [], "diffusers": []}
    for _ in range(rounds):
        for how, own in runs.items():
            with path.open("rb") as stream:  # both find the file in the system's cache, if it fits
                while stream.read(2**24):
                    pass
            command = [sys.executable, "-m", "bench.opening", family, "--once", how, "--precision", precision]
            said = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
            own.append(json.loads(said))
    found: dict[str, Any] = {"family": family, "precision": precision, "file_gb": round(size, 3)}
    middle = {how: {name: statistics.median(run[name] for run in own) for name in own[0]} for how, own in runs.items()}
    for how, figures in middle.items():
        found[how] = {name: round(value, 2) for name, value in figures.items()}
        found[how]["peak_of_tensors"] = round(figures["peak_gb"] / size, 2)
    ours, theirs = middle["limner"], middle["diffusers"]
    found["ratio"] = {
        name: round(ours[name] / theirs[name], 2) for name in ("opened", "read", "processor", "peak_gb")
    } | {"read_without_probe": round((ours["read"] - ours.get("probe", 0)) / theirs["read"], 2)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("families", nargs="+", choices=KINDS)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--precision", choices=("fp16", "bf16"), help="by default one after the other")
    parser.add_argument("--once", choices=("limner", "diffusers"), help="open in this process; what the bench calls")
    arguments = parser.parse_args()
    for family in arguments.families:
        for precision in [arguments.precision] if arguments.precision else ["bf16", "fp16"]:
            if arguments.once:
                print(json.dumps(open_once(arguments.once, family, precision)))
            else:
                print(json.dumps(measure(family, precision, arguments.rounds)), flush=True)


if __name__ == "__main__":
    main()
