"""`python -m bench.library`: the index over 10,000 LoRAs: first scan, a scan with nothing new, and queries.

The files are made once, in build/: real ones in kohya's names, each of twelve layers of Stable Diffusion 1, 2 or XL, of
several ranks, with keyword, title and tags; every tenth one is an embedding, half of those pickled. Scans and queries
are timed in a process without torch, as the studio's server is; processor seconds are with those of the process that
reads the files.

With --http, a studio serves the same folder and index, and what is timed is its answer to GET /api/models, with the
cards of one page, and with as many rows as it gives at once; processor: milliseconds of the server for each answer.

Prints one JSON line: seconds, files a second, milliseconds of each query (median and worst of 20, and of the
processor, which other work on the machine hardly changes), megabytes of the database and of this process.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path("build") / "library"
MAKE = "from bench.library import make; import sys; make(int(sys.argv[1]))"
WORDS = [
    "ink",
    "fox",
    "pencil",
    "lantern",
    "river",
    "paper",
    "marble",
    "velvet",
    "copper",
    "glacier",
    "moss",
    "ember",
    "linen",
    "basalt",
    "willow",
    "saffron",
]
QUERIES: dict[str, dict[str, Any]] = {
    "all, first 50": {"limit": 50},
    "one word": {"query": "lantern", "limit": 50},
    "two words": {"query": "ink velvet", "limit": 50},
    "a word that none has": {"query": "xyzzy", "limit": 50},
    "LoRAs for XL": {"kinds": ["lora"], "families": ["sdxl"], "limit": 50},
    "embeddings with a word": {"query": "moss", "kinds": ["embedding"], "limit": 50},
    "everything": {},
}


HTTP_QUERIES: dict[str, dict[str, Any]] = {
    "all, first 60": {"limit": 60},
    "the newest 60": {"limit": 60, "order": "newest"},
    "page 100 of 60": {"limit": 60, "offset": 5_940},
    "one word": {"q": "lantern", "limit": 60},
    "two words": {"q": "ink velvet", "limit": 60},
    "a word that none has": {"q": "xyzzy", "limit": 60},
    "LoRAs for XL": {"type": "lora", "base": "sdxl", "limit": 60},
    "1,000 rows": {"limit": 1000},
}


def make(count: int) -> None:
    """Write the files that are not there yet."""
    import random

    import torch
    from safetensors.torch import save_file

    widths = {"sd1": 768, "sd2": 1024, "sdxl": 2048}
    versions = {"sd1": "sd_v1", "sd2": "sd_v2", "sdxl": "sdxl_base_v1-0"}
    for number in range(count):
        dice = random.Random(number)
        family, rank = dice.choice(list(widths)), dice.choice((1, 2, 4))
        words = dice.sample(WORDS, 3)
        is_word = number % 10 == 0
        folder = ROOT / ("embeddings" if is_word else f"Lora/{words[0]}")
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{words[1]}-{words[2]}-{number:05}"
        if (folder / f"{stem}.safetensors").exists() or (folder / f"{stem}.pt").exists():
            continue
        if number % 20 == 0:
            torch.save({"string_to_param": {"*": torch.zeros(2, 768)}, "name": stem}, folder / f"{stem}.pt")
        elif is_word:
            save_file({"emb_params": torch.full((2, widths[family]), number / count)}, folder / f"{stem}.safetensors")
        else:
            tensors = {}
            for layer in range(12):
                name = f"lora_unet_down_blocks_1_attentions_{layer // 6}_transformer_blocks_0_attn{layer % 2 + 1}_to_"
                name += "qkv"[layer // 2 % 3]
                width = widths[family] if "attn2_to_k" in name or "attn2_to_v" in name else 640
                tensors[f"{name}.lora_down.weight"] = torch.full((rank, width), number / count, dtype=torch.float16)
                tensors[f"{name}.lora_up.weight"] = torch.zeros(640, rank, dtype=torch.float16)
                tensors[f"{name}.alpha"] = torch.tensor(float(rank), dtype=torch.float16)
            metadata = {
                "ss_base_model_version": versions[family],
                "ss_output_name": stem,
                "modelspec.title": " ".join(words),
                "modelspec.trigger_phrase": f"zq{number}",
                "ss_tag_frequency": json.dumps({"1_x": dict.fromkeys(dice.sample(WORDS, 8), 3)}),
            }
            save_file(tensors, folder / f"{stem}.safetensors", metadata)


def measure(count: int, scans: bool = True) -> dict[str, Any]:
    from limner.library.reader import Reader
    from limner.library.scan import Scanned, scan
    from limner.library.store import Store

    database = ROOT / "library.sqlite"
    for old in ROOT.glob("library.sqlite*") if scans else ():
        old.unlink()
    found: dict[str, Any] = {"files": count}
    root = ROOT.resolve()
    with Store(database) as store:
        for name in ("first scan", "scan with nothing new") if scans else ("scan with nothing new",):
            began, used = time.perf_counter(), _processor_seconds()
            with Reader() as reader:
                end = [event for event in scan(store, root, reader) if isinstance(event, Scanned)][-1]
            assert end.total >= count, end
            seconds = time.perf_counter() - began
            found[name] = {"seconds": round(seconds, 2), "processor_seconds": round(_processor_seconds() - used, 2)}
            found[name] |= {"files_a_second": round(end.total / seconds), "read": end.read}
        found["queries_ms"] = {name: _query(store, root, arguments) for name, arguments in QUERIES.items()}
        found["counts"] = store.count(root)
    found["database_mb"] = round(database.stat().st_size / 1e6, 1)
    found["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3, 1)
    found["torch"] = "torch" in sys.modules
    return found


def _query(store: Any, root: Path, arguments: dict[str, Any]) -> dict[str, float]:
    times, used = [], time.process_time()
    for _ in range(20):
        began = time.perf_counter()
        rows = store.find(root, **arguments)
        times.append((time.perf_counter() - began) * 1e3)
    used = (time.process_time() - used) * 1e3 / len(times)
    told = {"median": statistics.median(times), "worst": max(times), "processor": used}
    return {name: round(value, 2) for name, value in told.items()} | {"rows": len(rows)}


def measure_http() -> dict[str, Any]:
    """Milliseconds of whole answers over HTTP, on one connection, of a studio whose index is there already."""
    import re
    import signal

    import httpx2

    own = {"LIMNER_CACHE": str(ROOT.resolve()), "LIMNER_STUDIO": str((ROOT / "studio").resolve())}
    command = [sys.executable, "-m", "limner", "studio", "--port", "0", "--no-browser", "--models", str(ROOT)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | own)
    assert server.stdout is not None
    found: dict[str, Any] = {}
    try:
        line = re.search(r"http://\S+/", server.stdout.readline())
        assert line is not None
        with httpx2.Client(base_url=line[0], timeout=60) as client:
            while _is_busy(client):
                time.sleep(0.2)
            for name, query in HTTP_QUERIES.items():
                times = []
                used = _seconds_of(server.pid)
                for _ in range(20):
                    began = time.perf_counter()
                    answer = client.get("api/models", params=query)
                    times.append((time.perf_counter() - began) * 1e3)
                told = {"median": statistics.median(times), "worst": max(times), "kilobytes": len(answer.content) / 1e3}
                told["processor"] = (_seconds_of(server.pid) - used) * 1e3 / len(times)
                rows = {"rows": len(answer.json()["models"]), "total": answer.json()["total"]}
                found[name] = {key: round(value, 2) for key, value in told.items()} | rows
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)
    return found


def _is_busy(client: Any) -> bool:
    """Whether a studio starts, or scans."""
    import httpx2

    try:
        return client.get("api/models/scan").json()["busy"]
    except httpx2.ConnectError:
        return True


def _seconds_of(process: int) -> float:
    """Processor seconds of another process, in hundredths (Linux)."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _processor_seconds() -> float:
    """Of this process and those that it has ended."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in both)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--http", action="store_true", help="of a studio over an index that is there already")
    parser.add_argument("--queries", action="store_true", help="of an index that is there already")
    chosen = parser.parse_args()
    subprocess.run([sys.executable, "-c", MAKE, str(chosen.files)], check=True)
    print(json.dumps(measure_http() if chosen.http else measure(chosen.files, scans=not chosen.queries)))
