"""One training from pictures to a verified file, and on again after any stop, as a stream of events."""

import itertools
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from limner.config import KIND_FOLDERS, ResumeSettings, TrainSettings, read_toml, read_training
from limner.container.header import read_header
from limner.device import DTYPES, choose_device
from limner.errors import UserError
from limner.events import Done, Event, Exported, Kept, Measured, Prepared, Preview, Saved, Started, Step, Warned
from limner.files import shortened
from limner.formats import save_weights
from limner.formats.diffusers import save_folder, size_of
from limner.formats.metadata import run_card
from limner.generate import generate
from limner.infotext import save_png
from limner.run.base import using
from limner.run.board import require_tensorboard
from limner.run.budget import within
from limner.run.card import describe, made_from
from limner.run.data import complete, find_data, load_data
from limner.run.folder import Log, Record, RunFolder, Source
from limner.run.job import READING, Job, assemble, hashed, opened, prepare, read_methods
from limner.run.outputs import check_out, default_out
from limner.run.plots import Plots
from limner.run.watch import Outcome, Watch
from limner.train import BatchSource
from limner.train import train as loop
from limner.weights import Weights

MOST_STEM_BYTES = 200  # of names that get a time or a number behind


def train(settings: TrainSettings, tables: Mapping[str, Any], origin: str = "settings") -> Generator[Event, None, None]:
    """Train and export; `tables` holds the methods' own settings by name.

    Closing the generator, or an interrupt, saves the state once the loop has begun. Raises UserError.
    """
    yield using(settings.base)
    named, _ = complete(settings, find_data(settings))
    out = named.out or default_out(named)
    folder = RunFolder((settings.run or new_folder(Path("runs"), out.stem)).absolute())
    folder.require_new()
    if settings.tensorboard:
        require_tensorboard()
    job = yield from prepare(settings, tables, origin)
    yield from hashed(job.model)
    with folder.locked():
        folder.create(job.settings, job.methods, job.chosen, job.record)
        yield from _work(job, folder, job.settings.overwrite)


def new_folder(runs: Path, name: str) -> Path:
    """The folder of a run that begins now, not that of one which began in the same second."""
    stamp = datetime.now().strftime("%Y%m%d-%H%M%S")  # noqa: DTZ005 (a name for people, in their own time)
    name = shortened(name, MOST_STEM_BYTES)
    first = runs / f"{name}-{stamp}"
    others = (runs / f"{name}-{stamp}-{number}" for number in itertools.count(2))
    return next(folder for folder in itertools.chain([first], others) if not folder.exists())


def resume(request: ResumeSettings) -> Generator[Event, None, None]:
    """Go on with a run from the state saved last, with the settings of its run.toml. Raises UserError."""
    folder = RunFolder(request.run.absolute())
    before = folder.record()
    settings, tables = _own_settings(folder)
    if request.seed not in (None, settings.seed):
        raise UserError(f"the run began with --seed {settings.seed}, which cannot change; leave --seed out")
    changes = {name: getattr(request, name) for name in ("device", "precision") if getattr(request, name) != "auto"}
    settings = settings.model_copy(update=changes)
    yield using(settings.base)
    methods = read_methods(settings, tables, str(folder.settings_file))
    if settings.precision == "auto":
        raise UserError(f"{folder.settings_file} leaves the precision open; write bf16, fp16 or fp32")
    device = choose_device(settings.device)
    yield Prepared(0, 1, READING)
    data = load_data(settings, find_data(settings))
    model = yield from opened(settings, device, DTYPES[settings.precision])
    job = assemble(settings, methods, model, data, [])
    yield from hashed(model)
    yield from _compare(job, folder, before)
    overwrite = settings.overwrite or request.overwrite
    for out in job.outputs:
        if out.exists() and not (overwrite or _is_own(out, job)):
            raise UserError(f"{out} was written by something else since; move it away, or say --overwrite")
    model_folder = settings.diffusers_folder
    if model_folder is not None and model_folder.exists() and not (overwrite or folder.is_result(model_folder)):
        raise UserError(f"{model_folder} was written by something else since; move it away, or say --overwrite")
    check_out(settings.model_copy(update={"overwrite": True}))
    with folder.locked():
        yield from _work(job, folder, overwrite)


def _own_settings(folder: RunFolder) -> tuple[TrainSettings, dict[str, Any]]:
    """Those of the run. Raises UserError if its run.toml is not as the run wrote it."""
    path = folder.settings_file
    values = read_toml(path)
    missing = next((name for name in ("keyword", "method", "base", "steps", "out") if name not in values), None)
    if missing is not None:
        raise UserError(f"{path} is damaged: it has no {missing}; put the run's own file there, or start a new run")
    return read_training(values, str(path))


def _work(job: Job, folder: RunFolder, overwrite: bool) -> Generator[Event, None, None]:
    """From the encoded pictures to the exported files. overwrite: take the place of whatever has their names."""
    assert job.settings.steps is not None
    yield Started(folder.path, job.settings.steps)
    batches = yield from job.encode()
    log = Log(folder.log_file)
    watch = Watch(job, folder, log)
    with closing(_learn(job, folder, batches, log, watch)) as events:
        outcome = yield from events
    for state in watch.files():
        for weights, out in job.results(state.weights):
            name = f"{shortened(out.stem, MOST_STEM_BYTES)}-{state.step:06d}{out.suffix}"
            path = folder.states / KIND_FOLDERS[weights.kind] / name
            yield from export(job, weights, path, log.final_loss(state.step), state)
    if outcome.why:
        yield Kept(outcome.step, outcome.why)
    try:
        yield from _results(job, folder, outcome, log.final_loss(outcome.step), overwrite)
    except UserError as error:
        if isinstance(error.__cause__, OSError):
            raise UserError(f"{error}; what was learned is kept: limner resume {folder.path} writes it") from error
        raise
    if log.measurements:
        yield Measured(outcome.done.step, "measuring_share", log.measuring_share)
    yield outcome.done


def _results(
    job: Job, folder: RunFolder, outcome: Outcome, loss: float | None, overwrite: bool
) -> Generator[Event, None, None]:
    """The run's files. Where something took one's name while it ran, the file gets another, and a warning says so."""
    for weights, out in job.results(outcome.weights):
        if weights.kind == "checkpoint" and job.settings.diffusers_folder is not None:
            yield from export_folder(job, weights, job.settings.diffusers_folder, folder, overwrite)
        yield from export(job, weights, out, loss, outcome, overwrite=overwrite)


def export(
    job: Job,
    weights: Weights,
    path: Path,
    loss: float | None,
    outcome: Outcome | None = None,
    shown: Path | None = None,
    overwrite: bool = True,
) -> Generator[Warned | Exported, None, None]:
    """Write and verify a file, and speak of the programs that read all of it as trained, and before them of those that
    are known not to. shown: what to call it instead of its path."""
    weights.metadata |= describe(job, loss, outcome).metadata(job.model.family)
    # stable-diffusion.cpp takes any other numbers of an embedding for noise
    precision = "fp32" if weights.kind == "embedding" else job.settings.file_precision
    saved = save_weights(
        weights,
        path,
        dtype=DTYPES[precision],
        model=job.model,
        overwrite=overwrite,
        is_ours=lambda there: _is_own(there, job),
    )
    if saved.path != path:
        yield _named_otherwise(path, saved.path)
    shown = shown or saved.path
    faults = [f"{each.reader} {each.fault}" for each in saved.reports if each.fault]
    if faults:
        yield Warned(f"not every program uses {shown.name} as it was trained: {'; '.join(faults)}")
    right = tuple(each.reader for each in saved.reports if not (each.unmatched or each.fault))
    yield Exported(shown, saved.size_bytes, right, weights.kind)


def export_folder(
    job: Job, weights: Weights, path: Path, folder: RunFolder, overwrite: bool
) -> Iterator[Warned | Exported]:
    """Write and verify a whole model as a folder in diffusers' layout."""
    overwrite = overwrite or folder.is_result(path)
    made, report = save_folder(weights, path, job.model, DTYPES[job.settings.file_precision], overwrite)
    folder.note_result(made)
    if made != path:
        yield _named_otherwise(path, made)
    yield Exported(made, size_of(made), (report.reader,), weights.kind)


def _named_otherwise(wished: Path, path: Path) -> Warned:
    return Warned(f"{wished} was written by something else while this training ran, and stays; the result is {path}")


def _learn(
    job: Job, folder: RunFolder, batches: BatchSource, log: Log, watch: Watch
) -> Generator[Event, None, Outcome]:
    """The loop's events, logged, with previews and measurements between them."""
    plan = replace(job.plan(folder.state), run=folder.record().id)
    count = job.settings.previews or 0
    at = {max(1, round(plan.steps * (index + 1) / count)) for index in range(count)}
    plan = yield from watch.begin(batches, plan)
    methods = job.new_methods()
    steps = within(loop(job.model, batches, methods, plan, log), job.settings.minutes, log.seconds, folder.is_to_finish)
    with closing(Plots(job, folder, log)) as plots, closing(steps) as events:
        for event in events:
            if isinstance(event, Done):
                return plots.ended(watch.finish(event, methods))
            yield event
            if isinstance(event, Saved):
                watch.saved(event)
            if isinstance(event, Step):
                if event.step in at:
                    yield _preview(job, folder, event.step)
                yield from watch.after(event.step, methods)
                plots.update()
                if watch.stopped:
                    return plots.ended(watch.finish(Done(event.step, ""), methods))
    raise AssertionError("the loop ended without saying so")


def _preview(job: Job, folder: RunFolder, step: int) -> Preview | Warned:
    request = job.preview()
    try:
        for picture in generate(job.model, request, job.files()):
            path = folder.previews / f"{step:06d}.png"
            save_png(picture.image, picture.infotext, path)
            return Preview(step, request.prompt, path)
    except UserError as problem:
        return Warned(f"no preview at step {step}: {problem}")
    raise AssertionError("a request yields a picture")


def _compare(job: Job, folder: RunFolder, before: Record) -> Iterator[Warned]:
    """Raise UserError unless the run can go on as it began; a changed library is only warned of."""
    now = job.record
    if before.base != now.base:
        raise UserError(f"the base {job.settings.base} has changed since the run began; start a new run")
    changed = [
        *_changed([*before.sources, *before.held_out], [*now.sources, *now.held_out], job.data.folder),
        *_changed(before.class_sources, now.class_sources, job.settings.class_images or job.data.folder),
    ]
    if changed:
        others = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        first = changed[0]
        raise UserError(
            f"{first}{others} changed since the run began; put the old files back, "
            f"or start a new run with limner train --config {folder.settings_file}"
        )
    for name, version in before.versions.items():
        if now.versions.get(name) != version:
            yield Warned(
                f"{name} was {version} when the run began and is {now.versions.get(name)}; last bits may differ"
            )


def _changed(before: list[Source], now: list[Source], folder: Path | None) -> list[Path]:
    """Pictures that are no longer there, are new, or are others than they were."""
    was = {source.file: source for source in before}
    changed = {source.file for source in now if was.pop(source.file, None) != source} | was.keys()
    return [(folder or Path()) / name for name in sorted(changed)]


def _is_own(out: Path, job: Job) -> bool:
    """Whether the file that is there already came from this run, stopped after it was written."""
    try:
        return made_from(run_card(read_header(out).metadata), job)
    except UserError:
        return False
