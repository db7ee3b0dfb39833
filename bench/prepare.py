"""`python -m bench.prepare`: pictures a second of `limner prepare` with all checks on, beside plain loops of Pillow.

The pictures are JPEGs of 12 and of 2 megapixels made of scikit-image's photographs: a part of one before a part of
another, no two alike, with grain as cameras have it, a third of them turned by EXIF. A plain loop opens, turns upright,
converts, crops the middle to the bucket's shape and resizes it by Lanczos, and saves a PNG: what people write who
prepare pictures by hand. It runs in one process and in two. limner prepare runs on two workers, measures, judges,
groups copies, frames, resamples in linear light, captions, and writes its data set with its report; nothing is left out
as a fault, so that it writes as many.

Everything is a process of its own, timed from its start to its end, imports included; the figures "after start" are
without them, from two runs of different length. On a busy machine read the time of the processors: it is what the run
and all its processes took of them. Last, in this process alone, where a picture's time goes, part by part.

Prints a line for each run and one JSON line.
"""

import argparse
import contextlib
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from limner.data.buckets import assign, buckets

RESOLUTION = 512
SIZES = {"12 MP": (4032, 3024), "2 MP": (1632, 1224)}
FIRST = 4  # pictures of the run that shows what starting takes
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "motorcycle_left", "rocket", "hubble_deep_field", "retina", "ihc")
GRAIN = 4.0  # deviation of the noise, in levels of 255
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=24, help="pictures of each size")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", choices=sorted(SIZES), action="append", help="by default all")
    parser.add_argument("--plain", type=Path, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--processes", type=int, default=1, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.plain:
        folder, out = given.plain
        plain_loop(folder, out, given.processes)
        return
    figures: dict[str, Any] = {"count": given.count, "workers": given.workers, "resolution": RESOLUTION}
    with tempfile.TemporaryDirectory(prefix="limner-bench-") as folder:
        for size in given.size or SIZES:
            pictures = Path(folder) / size.replace(" ", "-")
            make_pictures(pictures, SIZES[size], given.count)
            figures[size] = compare(pictures, given.workers)
            figures[size]["parts"] = parts(pictures, Path(folder) / "parts")
            print(f"{size}: ms of one processor a picture: {figures[size]['parts']}")
    print(json.dumps(figures))


def make_pictures(folder: Path, size: tuple[int, int], count: int) -> None:
    """JPEGs of that size, and the first few of them in a folder of their own beside it."""
    import skimage

    few = folder.with_name(folder.name + "-few")
    for each in (folder, few):
        each.mkdir(parents=True)
    data = Path(skimage.__file__).parent / "data"
    photographs = [Image.open(next(data.glob(f"{name}.*"))).convert("RGB") for name in PHOTOGRAPHS]
    for index in range(count):
        rng = np.random.default_rng(index)
        behind, before = (photographs[at] for at in rng.choice(len(photographs), 2, replace=False))
        picture = _part(behind, size, rng)
        small = _part(before, (round(size[0] * 0.55), round(size[1] * 0.7)), rng)
        left, top = (int(rng.integers(0, old - new)) for old, new in zip(size, small.size, strict=True))
        picture.paste(small, (left, top))
        levels = np.asarray(picture, np.float32)[:, :, rng.permutation(3)]
        levels = levels + rng.normal(0, GRAIN, (*size[::-1], 1)).astype(np.float32)
        exif = Image.Exif()
        exif[0x0112] = 6 if index % 3 == 0 else 1
        name = f"{index:03d}.jpg"
        Image.fromarray(np.clip(np.rint(levels), 0, 255).astype(np.uint8)).save(folder / name, quality=90, exif=exif)
        if index < FIRST:
            shutil.copy(folder / name, few / name)


def _part(photo: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A part of a photograph, anywhere in it, at that size."""
    scale = min(photo.width / size[0], photo.height / size[1]) * rng.uniform(0.5, 1)
    left, top = (rng.uniform(0, old - new * scale) for old, new in zip(photo.size, size, strict=True))
    return photo.resize(size, Image.Resampling.BICUBIC, (left, top, left + size[0] * scale, top + size[1] * scale))


def compare(pictures: Path, workers: int) -> dict[str, dict[str, float]]:
    """Each way's time on all pictures."""
    few = pictures.with_name(pictures.name + "-few")

    def plain(processes: int) -> Callable[[Path, Path], list[str]]:
        return lambda folder, out: ["bench.prepare", "--processes", str(processes), "--plain", str(folder), str(out)]

    def limner(folder: Path, out: Path) -> list[str]:
        from limner.checking.verdict import ALL_KINDS

        keep = [part for kind in sorted(ALL_KINDS) for part in ("--keep", kind)]
        options = ["--resolution", str(RESOLUTION), "--workers", str(workers), "--most-enlargement", "8", "--quiet"]
        return ["limner", "prepare", str(folder), str(out), *options, *keep]

    ways = {"plain loop": plain(1), f"plain loop, {workers} processes": plain(workers), "limner prepare": limner}
    figures = {}
    for name, command in ways.items():
        starting, _ = timed(command, few)
        all_of_it, written = timed(command, pictures)
        count = len(list(pictures.iterdir()))
        if written != count:
            raise SystemExit(f"{name} wrote {written} pictures of {count}")
        more = count - FIRST
        each = {key: (all_of_it[key] - starting[key]) / more for key in starting}
        figures[name] = {
            "pictures_a_second": round(count / all_of_it["wall"], 2),
            "pictures_a_second_after_start": round(1 / each["wall"], 2),
            "processor_ms_a_picture": round(1000 * all_of_it["processor"] / count),
            "processor_ms_a_picture_after_start": round(1000 * each["processor"]),
        }
        print(f"{pictures.name}: {name}: {figures[name]}", flush=True)
    return figures


def timed(command: Callable[[Path, Path], list[str]], folder: Path) -> tuple[dict[str, float], int]:
    """Seconds by the clock and of the processors, and how many pictures were written."""
    with tempfile.TemporaryDirectory(prefix="limner-bench-out-") as parent:
        out = Path(parent) / "out"
        used = _used()
        began = time.perf_counter()
        run = subprocess.run(
            [sys.executable, "-m", *command(folder, out)], env=ENVIRONMENT, capture_output=True, text=True
        )
        seconds = {"wall": time.perf_counter() - began, "processor": _used() - used}
        if run.returncode:
            raise SystemExit(run.stderr)
        images = out / "images" if (out / "images").is_dir() else out
        return seconds, len(list(images.glob("*.png")))


def _used() -> float:
    """Seconds of the processors that ended processes took, theirs included."""
    found = resource.getrusage(resource.RUSAGE_CHILDREN)
    return found.ru_utime + found.ru_stime


def plain_loop(folder: Path, out: Path, processes: int) -> None:
    out.mkdir()
    tasks = [(path, out) for path in sorted(folder.iterdir())]
    if processes == 1:
        for task in tasks:
            plain(task)
        return
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        pool.map(plain, tasks, chunksize=1)


def plain(task: tuple[Path, Path]) -> None:
    """One picture as a script for it has it."""
    path, out = task
    image = ImageOps.exif_transpose(Image.open(path)).convert("RGB")
    size = assign(image.width, image.height, buckets(RESOLUTION))
    ImageOps.fit(image, size, Image.Resampling.LANCZOS).save(out / f"{path.stem}.png")


def parts(pictures: Path, out: Path) -> dict[str, int]:
    """Milliseconds of one processor that each part takes of a picture, in one process, on the first pictures."""
    from limner.checking import measure
    from limner.preparation import write

    spent: dict[str, list[float]] = defaultdict(list)
    named = {
        "decode to measure": (measure, "load"),
        "faces": (measure.Faces, "__call__"),
        "other measures": (measure, "_looks"),
        "features": (measure, "features_of"),
        "measure, in all": (measure.Measure, "__call__"),
        "decode to write": (write, "decode"),
        "colours": (write, "to_srgb"),
        "resample": (write, "resample"),
        "encode": (write, "encode"),
        "write, in all": (write, "write"),
    }
    command = ["prepare", str(pictures.with_name(pictures.name + "-few")), str(out), "--workers", "1", "--quiet"]
    with contextlib.ExitStack() as stack:
        for name, (place, attribute) in named.items():
            stack.enter_context(_watched(place, attribute, spent[name]))
        from limner.checking.verdict import ALL_KINDS
        from limner.cli import main as limner
        from limner.preparation import pictures as writing

        stack.enter_context(_replaced(writing, "write", write.write))
        limner([*command, *(part for kind in sorted(ALL_KINDS) for part in ("--keep", kind))])
    shutil.rmtree(out)
    # The first picture also pays for what is loaded once.
    return {name: round(1000 * sum(times[len(times) // FIRST :]) / (FIRST - 1)) for name, times in spent.items()}


@contextlib.contextmanager
def _replaced(place: Any, attribute: str, value: Any) -> Iterator[None]:
    before = getattr(place, attribute)
    setattr(place, attribute, value)
    try:
        yield
    finally:
        setattr(place, attribute, before)


@contextlib.contextmanager
def _watched(place: Any, attribute: str, spent: list[float]) -> Iterator[None]:
    """While the block runs, each call of a function adds what it took of this process's processor."""
    function = getattr(place, attribute)

    def watched(*arguments: Any, **named: Any) -> Any:
        began = time.process_time()
        try:
            return function(*arguments, **named)
        finally:
            spent.append(time.process_time() - began)

    with _replaced(place, attribute, watched):
        yield


if __name__ == "__main__":
    main()
