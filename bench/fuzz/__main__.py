"""`python -m bench.fuzz`: 110,000 spoiled files and texts, read under limits of time and memory; finds are kept.

A process for each kind. A find is an exception but UserError, a sentence that is none, a case that takes over 10 s
or 400 MB, and any act that no reader of files has a reason for: a program started, a module imported, a connection, a
file removed, Python's own unpickler. With `atheris` installed cases are led to
lines that none has reached; without it they are random. The small run in tests/test_fuzz.py takes seconds.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

CASES = {"safetensors": 35_000, "zip": 25_000, "legacy": 15_000, "prompt": 15_000, "infotext": 5_000, "png": 15_000}
SECONDS_A_CASE = 0.2  # for the whole process; a single one has its own limit


def fuzz(kind: str, engine: str, cases: int, seed: int, folder: Path) -> dict[str, Any]:
    """Run one kind in a process of its own; what it found, and how it ended."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-W", "ignore", "-X", "faulthandler", "-m", "bench.fuzz.child"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    with (folder / "log.txt").open("wb") as log:
        try:
            code = subprocess.run(
                [*command, engine, kind, str(cases), str(seed), str(folder)],
                stdout=log,
                stderr=log,
                env=environment,
                timeout=120 + cases * SECONDS_A_CASE,
                check=False,
            ).returncode
        except subprocess.TimeoutExpired:
            code = -1
    report = folder / "report.json"
    told: dict[str, Any] = (
        json.loads(report.read_text()) if report.exists() else {"kind": kind, "cases": 0, "finds": {}}
    )
    if code or not report.exists():  # the case that did it is the file `current`
        told["finds"] |= {f"the process ended with {code}": "current"}
    return told


def _keep(folder: Path, out: Path) -> None:
    """Copy the cases that were finds, what was said of them, and the last case."""
    out.mkdir(parents=True, exist_ok=True)
    for path in (*folder.glob("find-*"), folder / "current", folder / "log.txt"):
        (out / path.name).write_bytes(path.read_bytes())


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.fuzz", description=__doc__)
    parser.add_argument("--kinds", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--scale", type=float, default=1.0, help="times the cases of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--engine", choices=["atheris", "plain"], default="atheris" if find_spec("atheris") else "plain"
    )
    parser.add_argument("--out", type=Path, default=Path("build/fuzz"), help="where finds go")
    settings = parser.parse_args()
    memory = Path("/dev/shm")  # files of a run are written a hundred thousand times
    total: list[dict[str, Any]] = []
    for kind in settings.kinds:
        with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
            began = time.monotonic()
            told = fuzz(kind, settings.engine, int(CASES[kind] * settings.scale), settings.seed, Path(folder))
            told["seconds"] = round(time.monotonic() - began, 1)
            if told["finds"]:
                _keep(Path(folder), settings.out / kind)
        total.append(told)
        print(f"{kind:12} {told['cases']:7,} cases {told['seconds']:7.1f} s  {len(told['finds'])} finds", flush=True)
        for what, where in told["finds"].items():
            print(f"    {what}: {settings.out / kind / where}", flush=True)
    print(json.dumps({"engine": settings.engine, "seed": settings.seed, "kinds": total}))
    return int(any(told["finds"] for told in total))


if __name__ == "__main__":
    sys.exit(main())
