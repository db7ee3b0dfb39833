"""A training tried out: some steps, the first milestone, a preview and a verified save, to say what the whole takes."""

import tempfile
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import torch

from limner.config import TrainSettings
from limner.data.batch import Example
from limner.device import peak_memory_bytes
from limner.evaluate.milestone import IMAGES, SAMPLER_STEPS
from limner.events import Event, Exported, Measured, Step, Warned
from limner.generate import generate
from limner.methods.method import Method
from limner.run.base import using
from limner.run.folder import Log, RunFolder
from limner.run.job import Job, prepare
from limner.run.schedule import AT_THE_START
from limner.run.training import export
from limner.run.watch import Watch
from limner.train import Plan
from limner.train import train as loop

CALLS = 40  # of the network in a picture: twenty steps with and without the prompt
TIMED = 3  # steps after the first, which prepares the kernels and is slower


def dry_run(
    settings: TrainSettings, tables: Mapping[str, Any], origin: str = "settings"
) -> Generator[Event, None, None]:
    """Do a little of everything that `train` would do, and measure it; nothing stays but encoded pictures in the cache.

    Yields, last, Measured "seconds" and "memory_bytes" (peak, resident) of the whole run as predicted, "file_bytes",
    and on an accelerator "device_memory_bytes". Raises UserError as `train` would.
    """
    yield using(settings.base)
    job = yield from prepare(settings, tables, origin)
    steps, batch = job.settings.steps, job.settings.batch_size
    assert steps is not None
    assert batch is not None
    began = time.perf_counter()
    examples = _some_examples(job, batch)
    encoding = (time.perf_counter() - began) / max(len(examples), 1) * job.num_examples
    methods = job.new_methods()
    seconds: list[float] = []
    picture = 0.0
    beside = examples if job.settings.prior != "none" else []  # what shows the class costs as much
    losses = milestone = 0.0
    with ExitStack() as stack:
        folder = RunFolder(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        watch = Watch(job, folder, Log(folder.log_file), rehearses=True)
        batches = job.batches(examples, beside)
        plan = yield from _warnings(watch.begin(batches, job.plan(None)))
        events = stack.enter_context(closing(loop(job.model, batches, methods, plan)))
        for event in events:
            if not isinstance(event, Step):
                break
            if event.step == 1:
                yield event  # the others only tell how long one takes
            seconds.append(event.seconds)
            if event.step == min(1 + TIMED, steps):
                losses, milestone = watch.rehearse()
                if job.settings.previews or beside or milestone:
                    picture, of_step = _time_preview(job)
                    milestone += (SAMPLER_STEPS - 1) * of_step * IMAGES if milestone else 0.0
                break
    size = 0
    for event in _save(job, methods):
        size += event.size_bytes if isinstance(event, Exported) else 0
        yield event
    step = min(seconds[1:], default=seconds[0])
    total = encoding + seconds[0] + step * (steps - 1) + picture * ((job.settings.previews or 0) + _class_pictures(job))
    schedule = watch.schedule
    total += losses * len(schedule.at_measurements) + milestone * (schedule.milestones + AT_THE_START)
    yield Measured(1, "seconds", total)
    yield Measured(1, "memory_bytes", peak_memory_bytes())
    if job.model.device.type == "cuda":
        yield Measured(1, "device_memory_bytes", torch.cuda.max_memory_allocated())
    yield Measured(1, "file_bytes", size)


def _some_examples(job: Job, batch: int) -> list[Example]:
    """As many crops as one step takes, of the first pictures."""
    needed = batch * job.settings.gradient_accumulation
    examples: list[Example] = []
    for example in job.examples(job.items[:needed]):
        examples.append(example)
        if len(examples) >= needed:
            break
    return examples


def _class_pictures(job: Job) -> float:
    """How many pictures the base would have to draw of the class, or as many as would take as long."""
    count = job.settings.class_count or 0
    if job.settings.prior == "match":
        return count / CALLS
    return count if job.settings.prior == "images" and not job.class_pictures else 0


def _warnings(events: Generator[Event, None, Plan]) -> Generator[Event, None, Plan]:
    """Of a watch's events those that a person should know."""
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            return end.value
        if isinstance(event, Warned):
            yield event


def _time_preview(job: Job, whole: int = 20) -> tuple[float, float]:
    """Seconds of a preview of `whole` sampler steps, and of one of these, from two short ones."""
    times = []
    for steps in (1, 3):
        began = time.perf_counter()
        list(generate(job.model, job.preview(steps), job.files()))
        times.append(time.perf_counter() - began)
    of_step = max(times[1] - times[0], 0.0) / 2
    return times[0] + of_step * (whole - 1), of_step


def _save(job: Job, methods: list[Method]) -> Iterator[Event]:
    """The files that the run would write, written elsewhere, verified and removed."""
    for weights, out in job.results([method.weights() for method in methods]):
        with tempfile.TemporaryDirectory() as folder:
            yield from export(job, weights, Path(folder) / out.name, None, shown=out)
