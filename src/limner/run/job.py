"""From settings to everything that a training needs: what can be wrong is found here, the cheap things first."""

import platform
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from limner.base import pocket
from limner.base.find import find_base
from limner.base.model import BaseModel
from limner.base.open import opening
from limner.config import KIND_FOLDERS, Settings, TrainSettings
from limner.data.batch import Batches, Example
from limner.data.buckets import buckets
from limner.data.cache import Examples, encode_caption
from limner.data.caption import caption_for
from limner.data.dataset import Item
from limner.data.folder import Picture
from limner.data.keyword import keyword_problem
from limner.data.prior import WithPrior
from limner.data.split import hold_out
from limner.device import choose_device, choose_dtype
from limner.diffusion import Objective, loss_weights, signal_levels
from limner.errors import UserError
from limner.events import Chosen, Event, Prepared, Warned
from limner.files import require_cache
from limner.generate import Request, make_plan
from limner.generators import retold
from limner.methods.method import Method, find_method, find_methods, usual_rates
from limner.named import PromptFiles
from limner.run.base import require_drawings
from limner.run.data import (
    RunData,
    choose_background,
    choose_mirrored,
    choose_resolution,
    complete,
    count_class,
    find_data,
    load_data,
    remarks,
    remarks_on_captions,
    remarks_on_size,
)
from limner.run.derive import derive, unusual
from limner.run.folder import Record, Source
from limner.run.outputs import check_out, default_out, kind_folders, outputs, prompt_files
from limner.run.prior import load_class, prior_examples
from limner.run.schedule import check_watching
from limner.run.unused import given_in, without_effect
from limner.texts import display
from limner.train import BatchSource, Plan
from limner.weights import Weights, down_to_noise

MEGABYTE = 1_000_000  # bytes
READING = "reading the pictures"
HASHING = "working out the base's hash"
PATHS = ("images", "masks", "class_images", "out", "diffusers_folder", "models", "cache", "vae")  # settings


@dataclass(frozen=True)
class Job:
    """A training with nothing left open. `methods`: their settings by name. `chosen`: what was open, and why.
    `held_out`: what it is judged by, not among `items`."""

    settings: TrainSettings
    methods: dict[str, Settings]
    model: BaseModel
    data: RunData
    items: list[Item]
    chosen: list[Chosen]
    held_out: list[Item] = field(default_factory=list)
    class_pictures: list[Picture] = field(default_factory=list)  # the person's own

    @property
    def pictures(self) -> list[Picture]:
        """Those of the subject that are learned from."""
        return [item.picture for item in self.items]

    @property
    def out(self) -> Path:
        """The run's file; where there are several, the last-named method's."""
        return self.outputs[-1]

    @property
    def outputs(self) -> list[Path]:
        """The file of each method, but with `bundle` not of embeddings, which lie in the LoRA's."""
        return outputs(self.settings)

    def results(self, learned: list[Weights]) -> list[tuple[Weights, Path]]:
        """What the run's methods learned, in their order, and the file that each goes into."""
        if self.settings.zero_terminal_snr:
            learned = [down_to_noise(each) if each.kind == "checkpoint" else each for each in learned]
        if self.settings.bundle:
            words = {each.name: each.tensors for each in learned if each.kind == "embedding"}
            learned = [replace(each, words=words) for each in learned if each.kind != "embedding"]
        return list(zip(learned, self.outputs, strict=True))

    @property
    def record(self) -> Record:
        sources, held_out = ([self._source(item) for item in items] for items in (self.items, self.held_out))
        of_class = [Source(self._class_name(each), each.sha256, each.caption or "") for each in self.class_pictures]
        libraries = ("limner", "torch", "diffusers", "transformers", "safetensors", "pillow", "numpy")
        versions = {"python": platform.python_version()} | {name: version(name) for name in libraries}
        return Record(self.model.fingerprint, sources, versions, held_out, of_class)

    def _class_name(self, picture: Picture) -> str:
        return picture.path.name if self.settings.class_images else self.data.file_name(picture)

    def _source(self, item: Item) -> Source:
        mask = item.picture.mask
        name = self.data.file_name(item.picture)
        return Source(name, item.picture.sha256, item.caption, mask.sha256 if mask else None, item.repeats)

    @property
    def trains_text(self) -> bool:
        """Whether captions are encoded as the run goes, because their states change."""
        return any(method.trains_text for method in self.new_methods())

    @property
    def encodes_text(self) -> bool:
        """Whether captions can be encoded beforehand: not if they change, or their states do."""
        return not self.trains_text and all(item.tags is None for item in self.items)

    @property
    def num_examples(self) -> int:
        return len(self.examples(self.items))

    def encode(self) -> Generator[Prepared, None, BatchSource]:
        """The batches of the run, from the cache as far as it goes."""
        examples = self.examples(self.items)
        for done, _ in enumerate(examples, 1):
            yield Prepared(done, len(examples))
        prior = yield from prior_examples(
            self.model, self.settings, self.class_pictures, examples, self.objective, not self.encodes_text
        )
        return self.batches(examples, prior)

    def examples(self, items: list[Item]) -> Examples:
        settings = self.settings
        assert settings.resolution is not None
        cache, text = settings.cache / "examples", self.encodes_text
        return Examples(self.model, items, settings.resolution, settings.seed, cache, text, settings.clip_skip)

    def batches(self, examples: Sequence[Example], prior: list[Example]) -> BatchSource:
        """Batches of the examples, with those of the class beside them if there are any."""
        settings = self.settings
        assert settings.batch_size is not None
        empty = None
        if self.encodes_text and any(item.dropout for item in self.items):
            empty = encode_caption(self.model, "", settings.cache / "examples", settings.clip_skip)
        examples = examples or self._blanks()
        own = Batches(examples, settings.batch_size, settings.seed, settings.caption_dropout, empty)
        return WithPrior(own, prior, settings.prior_weight) if prior else own

    def _blanks(self) -> list[Example]:
        """As many empty examples as a batch has, for a method that needs no pictures."""
        assert self.settings.resolution is not None
        assert self.settings.batch_size is not None
        side = self.settings.resolution // self.model.factor
        return [Example(torch.zeros(self.model.channels, side, side), "", None)] * self.settings.batch_size

    def new_methods(self) -> list[Method]:
        return [find_method(name)(config) for name, config in self.methods.items()]

    def plan(self, state_dir: Path | None) -> Plan:
        """The settings as the loop takes them."""
        settings = self.settings
        assert settings.steps is not None
        assert settings.warmup_steps is not None
        return Plan(
            steps=settings.steps,
            state_dir=state_dir,
            save_every=settings.save_every,
            seed=settings.seed,
            optimizer=settings.optimizer,
            learning_rate=settings.learning_rate,
            schedule=settings.schedule,
            warmup_steps=settings.warmup_steps,
            gradient_accumulation=settings.gradient_accumulation,
            gradient_checkpointing=settings.gradient_checkpointing,
            max_grad_norm=settings.max_grad_norm,
            objective=self.objective,
        )

    @property
    def objective(self) -> Objective:
        values = {each.name: getattr(self.settings, each.name) for each in fields(Objective)}
        return Objective(**values | {"min_snr_gamma": self.settings.min_snr_gamma or None})

    def preview(self, steps: int = 20) -> Request:
        """The request of the preview pictures."""
        settings = self.settings
        return Request(settings.preview_prompt or "", steps=steps, seed=settings.seed, clip_skip=settings.clip_skip)

    def files(self) -> PromptFiles:
        """What a preview's prompt can name."""
        return prompt_files(self.settings.models)


def prepare(settings: TrainSettings, tables: Mapping[str, Any], origin: str) -> Generator[Event, None, Job]:
    """Check everything, load pictures and base, and decide what was left open. Raises UserError."""
    given = given_in(settings)
    _names_are_text(settings)
    dataset = find_data(settings)
    settings, told = complete(settings, dataset)
    methods = read_methods(settings, tables, origin)
    settings = settings.model_copy(update={"out": settings.out or default_out(settings)})
    check_out(settings)
    require_cache(settings.cache)
    if settings.resolution is not None:
        buckets(settings.resolution)
    caption_for(Picture(Path(), "", 1, 1), settings.keyword, settings.class_word, settings.template)
    find_base(settings.base)
    device = choose_device(settings.device)
    yield Prepared(0, 1, READING)
    data = load_data(settings, dataset)
    require_drawings(settings, data.taught)
    yield from remarks(data, settings)
    settings, counted = count_class(settings, data)
    dtype = choose_dtype(settings.precision, device)
    model = yield from opened(settings, device, dtype)
    yield from map(Warned, model.warnings)
    for problem in (keyword_problem(keyword, model.tokenize) for keyword in data.keywords):
        if problem:
            yield Warned(problem)
    rates = usual_rates(find_methods(settings.method).values())
    yield from map(Warned, unusual(settings, methods, model.resolution, rates))
    sized, remark = choose_resolution(settings, data, model.resolution)
    yield from remark
    settings = settings.model_copy(update={each.name: each.value for each in sized})
    last = signal_levels(model, settings.zero_terminal_snr)[-1:]
    on_cpu, ends_in_noise = device.type == "cpu", bool(last == 0)
    chosen = [*told, *sized, *counted]
    chosen += derive(settings, len(data.taught), model.resolution, on_cpu, rates, ends_in_noise)
    chosen += choose_background(settings, data)
    settings = _decided(settings, chosen, model)
    job = assemble(settings, methods, model, data, chosen)
    yield from remarks_on_captions(job.items)
    yield from without_effect(job, given)
    assert settings.resolution is not None
    yield from remarks_on_size(data, settings.resolution)
    yield from _called_otherwise(job)
    if not bool(loss_weights(last, model.prediction_type, job.objective)):
        yield Warned(
            f"weighting = {job.settings.weighting} gives the last timestep, which is pure noise, no weight at all, so "
            "that nothing is learned there; leave weighting out, or use none"
        )
    yield from chosen
    yield from choose_mirrored(settings, job.items)
    return job


def hashed(model: BaseModel) -> Iterator[Prepared]:
    """Work out the base's hash, which is kept then, and takes a while for a large one."""
    yield Prepared(0, 1, HASHING)
    assert model.fingerprint


def opened(settings: TrainSettings, device: torch.device, dtype: torch.dtype) -> Generator[Prepared, None, BaseModel]:
    """The run's base. Raises UserError."""
    return (
        yield from retold(
            opening(settings.base, device, dtype, settings.prediction_type, settings.vae),
            lambda step: Prepared(step.done // MEGABYTE, max(step.total // MEGABYTE, 1), "opening the base, MB"),
        )
    )


def assemble(
    settings: TrainSettings, methods: dict[str, Settings], model: BaseModel, data: RunData, chosen: list[Chosen]
) -> Job:
    """The job of decided settings, its preview found to be possible. Raises UserError."""
    check_watching(settings, len(data.taught))
    unseen = hold_out(data.taught, settings.held_out or 0, settings.seed)
    items = data.items(settings)
    held_out = [
        replace(item, crops=0, mirror=False, colour_jitter=0.0, tags=None)
        for item in items
        if item.picture.sha256 in unseen
    ]
    learned = [item for item in items if item.picture.sha256 not in unseen]
    job = Job(settings, methods, model, data, learned, chosen, held_out, load_class(settings, data))
    for method in job.new_methods():
        method.check(model)
    make_plan(model, job.preview(), job.files())
    signal_levels(model, settings.zero_terminal_snr)
    return job


def read_methods(settings: TrainSettings, tables: Mapping[str, Any], origin: str) -> dict[str, Settings]:
    """The settings of every method that the run names. Raises UserError."""
    found = find_methods(settings.method)
    return {
        name: method.Config.read(_of_run(method, settings) | tables.get(name, {}), f"{origin}: [{name}]", name)
        for name, method in found.items()
    }


def _of_run(method: type[Method], settings: TrainSettings) -> dict[str, Any]:
    """What the run's settings say where a method's own are left open."""
    taken = {name: getattr(settings, theirs) for name, theirs in method.from_run.items()}
    return {name: value for name, value in taken.items() if value}


def _decided(settings: TrainSettings, chosen: list[Chosen], model: BaseModel) -> TrainSettings:
    """The settings with what was chosen, on the device and in the precision that the model has, with whole paths."""
    precision = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}[str(model.dtype).removeprefix("torch.")]
    base = Path(settings.base).expanduser()  # or a hub id, which looks like a path too
    assert settings.out is not None
    paths = {name: getattr(settings, name) for name in PATHS}
    values = {each.name: each.value for each in chosen}
    values |= {name: path.absolute() for name, path in paths.items() if path is not None}
    values |= {"device": str(model.device), "precision": precision}
    values |= {"base": str(base.absolute())} if settings.base != pocket.NAME and base.exists() else {}
    return TrainSettings.read(settings.model_dump(by_alias=True) | values, "the settings that were left open")


def _names_are_text(settings: TrainSettings) -> None:
    """Raise UserError for a place whose name run.toml cannot hold; files in it may be called anything."""
    for path in (getattr(settings, name) for name in (*PATHS, "run")):
        if path is not None and not str(path.absolute()).isascii():
            try:
                str(path.absolute()).encode()
            except UnicodeEncodeError as error:
                raise UserError(
                    f"{display(path.absolute())} has a name that is not UTF-8, which a run cannot put down; rename it"
                ) from error


def _called_otherwise(job: Job) -> Iterator[Warned]:
    """An embedding is called by its file's name, whatever it was called in training."""
    for folder, out in zip(kind_folders(job.settings), job.outputs, strict=True):
        if folder == KIND_FOLDERS["embedding"] and out.stem.lower() != job.settings.keyword.lower():
            yield Warned(f"prompts will call the embedding {out.stem!r}, by the name of its file {out.name}")
