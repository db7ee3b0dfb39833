"""`python -m bench.resume`: kill -9 short trainings at random moments, resume them, and compare the finished files.

Prints one JSON line: how many of the resumed runs gave the very bytes of a run that nobody disturbed.
"""

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import limner

SAMPLES = Path(limner.__file__).parent / "samples"


def command(folder: Path, steps: int) -> list[str]:
    """A short training that saves its state every other step, on the pocket base and the sample images."""
    return [
        *(sys.executable, "-m", "limner", "train", str(SAMPLES), "--keyword", "fxm", "--class", "style"),
        *("--steps", str(steps), "--batch-size", "2", "--save-every", "2", "--previews", "0", "--crops", "0"),
        *("--run", str(folder / "run"), "--out", str(folder / "fxm.safetensors"), "--cache", str(folder / "cache")),
    ]


def finish(folder: Path, steps: int) -> str:
    """Go on with a run, or start it if it had not begun; the SHA-256 of its file."""
    if not (folder / "fxm.safetensors").exists():
        begun = (folder / "run" / "run.toml").exists()
        resume = [sys.executable, "-m", "limner", "resume", str(folder / "run")]
        subprocess.run(resume if begun else command(folder, steps), check=True, capture_output=True)
    return hashlib.sha256((folder / "fxm.safetensors").read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as root:
        undisturbed = Path(root) / "undisturbed"
        began = time.perf_counter()
        wanted = finish(undisturbed, arguments.steps)
        seconds = time.perf_counter() - began
        identical, moments = 0, []
        for number in range(arguments.kills):
            folder = Path(root) / str(number)
            folder.mkdir()
            process = subprocess.Popen(
                command(folder, arguments.steps), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            moment = chance.uniform(0, seconds)
            time.sleep(moment)
            process.send_signal(signal.SIGKILL)
            process.wait()
            same = finish(folder, arguments.steps) == wanted
            identical += same
            moments.append(round(moment, 2))
            print(
                f"killed after {moment:.1f} of {seconds:.1f} s: {'identical' if same else 'DIFFERENT'}", file=sys.stderr
            )
    print(json.dumps({"kills": arguments.kills, "identical": identical, "seconds": moments}))


if __name__ == "__main__":
    main()
