"""`python -m bench.streaming`: the memory of `limner prepare` while it goes through many pictures.

Small pictures are drawn, each another one, and prepared with all checks on. At every tenth of each step it says what
this process holds (resident memory), and what the largest of its workers does. Constant memory is: what is held at the
end of a step is about what was held at its first tenth, however many pictures there are.

`--again` prepares a second time, when all is known and stands: it says how fast nothing is done. `--folder` keeps the
pictures and what is made of them, so that a run that was killed goes on; `--size` is what time there is for.

Prints a line for each tenth and one JSON line. Needs /proc, so Linux.
"""

import argparse
import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from limner.config import PrepareSettings
from limner.events import Prepared
from limner.files import atomic_path
from limner.preparation.prepare import preparing

FOLDER = 1000  # pictures in a folder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--size", default="192x144", help="of the pictures in pixels")
    parser.add_argument("--folder", type=Path, help="to work in; what it holds of an earlier run is gone on from")
    given = parser.parse_args()
    width, height = map(int, given.size.split("x"))
    with ExitStack() as stack:
        passing = tempfile.TemporaryDirectory(prefix="limner-streaming-")
        folder = given.folder or Path(stack.enter_context(passing))
        images, out = folder / "images", folder / "out"
        for number in range(given.count):
            path = images / f"{number // FOLDER:03d}" / f"{number:06d}.jpg"
            if not path.exists():
                with atomic_path(path) as temporary:
                    drawn(number, (width, height)).save(temporary, quality=92)
        resolution = max(64, min(width, height) * 8 // 9 // 64 * 64)
        values = {"images": images, "out": out, "resolution": resolution, "keyword": "zqvx"}
        settings = PrepareSettings.read(values | {"workers": given.workers}, "the benchmark")
        figures = {"count": given.count, "workers": given.workers, "first": watched(settings)}
        if given.again:
            figures["again"] = watched(settings)
        print(json.dumps(figures))


def watched(settings: PrepareSettings) -> dict[str, Any]:
    """Prepare, and give for each step the memory at its tenths in MB, of this process and its largest worker."""
    steps: dict[str, dict[str, Any]] = {}
    began = time.monotonic()
    events = preparing(settings)
    try:
        while True:
            event = next(events)
            if not isinstance(event, Prepared):
                continue
            step = steps.setdefault(event.what, {"began": time.monotonic() - began, "parent": [], "worker": []})
            if len(step["parent"]) < event.done * 10 // event.total:
                parent, worker = resident("self"), max(map(resident, children()), default=0.0)
                step["parent"].append(round(parent))
                step["worker"].append(round(worker))
                step["seconds"] = round(time.monotonic() - began - step["began"], 1)
                print(
                    f"{event.what}: {event.done} of {event.total}, {parent:.0f} MB, a worker {worker:.0f} MB",
                    flush=True,
                )
    except StopIteration as end:
        made = end.value
    kept = {"kept": made.kept, "written": made.written, "seconds": round(time.monotonic() - began, 1)}
    return kept | {"steps": steps}


def drawn(number: int, size: tuple[int, int]) -> Image.Image:
    """A picture of its own: shapes with clear edges on a soft ground, with grain."""
    rng = np.random.default_rng(number)
    image = Image.fromarray(rng.integers(60, 200, (3, 4, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    pen = ImageDraw.Draw(image)
    for _ in range(25):
        left, top = rng.integers(0, size).tolist()
        across, down = rng.integers(8, (size[0] // 3, size[1] // 3)).tolist()
        shape = pen.ellipse if rng.random() < 0.5 else pen.rectangle
        shape((left, top, left + across, top + down), fill=tuple(rng.integers(20, 235, 3).tolist()))
    grain = rng.integers(-4, 5, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(image) + grain).clip(0, 255).astype(np.uint8))


def resident(pid: str) -> float:
    """MB of memory that a process holds; 0 if it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS:")), 0.0)


def children() -> list[str]:
    return Path("/proc/self/task").joinpath(Path("/proc/self").resolve().name, "children").read_text().split()


if __name__ == "__main__":
    main()
