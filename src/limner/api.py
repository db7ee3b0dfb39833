"""Limner as a library: what the command line does, as functions.

Each takes the settings of the command of its name, by the same names, with "_" for "-" and `class_word` for --class:
all of them, but that a model which is given says itself what the command's base, device and precision say, and that
images are returned rather than written. A setting that there is not, or a value that will not do, is a UserError.
"""

import warnings
from collections.abc import Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from limner import run
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.compare import Comparison
from limner.compare import compare as comparing
from limner.config import (
    CompareSettings,
    ConvertSettings,
    EvaluateSettings,
    ExtractSettings,
    GenerateSettings,
    InspectSettings,
    KeywordSettings,
    LoadSettings,
    MergeSettings,
    PrepareSettings,
    ResizeSettings,
    ResumeSettings,
    Settings,
    read_training,
)
from limner.device import choose_device, choose_dtype
from limner.edit import (
    Converted,
    Extracted,
    Merged,
    Resized,
    converting,
    extracting,
    merging,
    resizing,
)
from limner.errors import UserError
from limner.evaluate.judge import Evaluation, evaluate_file
from limner.evaluate.report import Report
from limner.events import Event
from limner.generate import Generated, Request
from limner.generate import generate as _generate
from limner.generate.read import read_request
from limner.generators import finish
from limner.inspection import Difference, Facts, examine, explain
from limner.keyword import Advice, advise
from limner.methods.settings import with_tables
from limner.preparation.again import training
from limner.preparation.prepare import Made, preparing
from limner.run.outputs import prompt_files

__all__ = [
    "compare",
    "convert",
    "dreambooth",
    "evaluate",
    "extract",
    "generate",
    "inspect",
    "keyword",
    "load",
    "merge",
    "prepare",
    "resize",
    "resume",
    "train",
]

ORIGIN = "the arguments"
OF_THE_MODEL = dict.fromkeys(LoadSettings.model_fields, "tell limner.load, which opens the model")
RETURNED = {"out": "save the images that are returned where you want them"}
S = TypeVar("S", bound=Settings)


def load(base: str | Path = "pocket", **settings: Any) -> BaseModel:
    """A base model: "pocket", a checkpoint file, a diffusers folder, or a hub id in the cache. Raises UserError.

    settings: device, precision, prediction_type, vae. What there is to be said of the model stands in its attribute
    `warnings`.
    """
    read = LoadSettings.read({"base": _text(base)} | settings, ORIGIN)
    device = choose_device(read.device)
    return open_base(read.base, device, choose_dtype(read.precision, device), read.prediction_type, read.vae)


def train(
    images: str | Path | None = None, keyword: str = "", dry_run: bool = False, **settings: Any
) -> Generator[Event, None, None]:
    """Learn a subject from a folder of pictures or a data-set file, a slider from none; the last events name files.

    settings: those of `limner train`, and the method's own, as in rank=8, or in a dict under the method's name, as in
    lora={"rank": 8}. dry_run: do one step and one save, and predict time and memory. Unlike the command line it does
    not start before it is iterated. Without a base photographs are refused. Raises UserError.
    """
    values = with_tables({"images": images, "keyword": keyword} | settings, ORIGIN)
    read, tables = read_training(values, ORIGIN)
    return training(read, tables, ORIGIN, dry_run)


def dreambooth(
    images: str | Path | None = None, keyword: str = "", dry_run: bool = False, **settings: Any
) -> Generator[Event, None, None]:
    """Learn a subject with the whole model and pictures of its class: `train` with the method dreambooth."""
    return train(images, keyword, dry_run, **{"method": "dreambooth", "prior": "images"} | settings)


def resume(run_folder: str | Path, **settings: Any) -> Generator[Event, None, None]:
    """Go on with a training that was stopped, from the state saved last; settings: those of `limner resume`.

    Raises UserError.
    """
    return run.resume(ResumeSettings.read({"run": run_folder} | settings, ORIGIN))


def prepare(images: str | Path, out: str | Path, **settings: Any) -> Made:
    """Make a data set of a folder or zip of pictures; settings: those of `limner prepare`. Raises UserError."""
    return finish(preparing(_read(PrepareSettings, {"images": images, "out": out} | settings, {})))


def generate(model: BaseModel, prompt: str, **settings: Any) -> Iterator[Generated]:
    """Make pictures; settings: those of `limner generate`. Raises UserError."""
    _require_model(model)
    read = _read(GenerateSettings, {"prompt": prompt} | settings, OF_THE_MODEL | RETURNED)
    return _generate(model, read_request(read), prompt_files(read.models, read.lora, read.embedding))


def inspect(file: str | Path, other: str | Path | None = None, **settings: Any) -> Facts | Difference:
    """What a file of weights, a picture, or the folder of a run or of a model is; or how two of them differ.

    settings: those of `limner inspect`. Raises UserError.
    """
    read = InspectSettings.read({"file": file, "other": other} | settings, ORIGIN)
    return examine(read.file) if read.other is None else explain(read.file, read.other)


def evaluate(model: BaseModel, file: str | Path, images: str | Path, **settings: Any) -> Report:
    """A file's figures against a folder of real pictures; settings: those of `limner evaluate`.

    Pictures that cannot be used are warned of. Raises UserError.
    """
    _require_model(model)
    asked = Evaluation.of(_read(EvaluateSettings, {"file": file, "images": images} | settings, OF_THE_MODEL))
    for skipped in asked.skipped:
        warnings.warn(f"{skipped.path} {skipped.reason}; it is left out", stacklevel=2)
    return evaluate_file(model, asked.learned, asked.evidence, asked.protocol, asked.clip)


def compare(images: str | Path, keyword: str, **settings: Any) -> Comparison:
    """Teach the same pictures by several methods and judge all alike; settings: those of `limner compare`.

    The same folder again goes on where it was stopped. Raises UserError.
    """
    read = CompareSettings.read({"images": images, "keyword": keyword} | settings, ORIGIN)
    return finish(comparing(read, quiet=True))


def keyword(model: BaseModel, keyword: str, class_word: str = "", **settings: Any) -> Advice:
    """What a base makes of a keyword, and emptier ones; settings: those of `limner keyword`. Raises UserError."""
    _require_model(model)
    values = {"keyword": keyword, "class_word": class_word} | settings
    read = _read(KeywordSettings, values, OF_THE_MODEL | RETURNED)
    request = Request("", steps=read.drawing_steps, seed=read.seed, count=read.count)
    return finish(advise(model, read.keyword, read.class_word, request, read.proposals))


def convert(file: str | Path, out: str | Path, **settings: Any) -> Converted:
    """A file in another format; settings: those of `limner convert`. Raises UserError."""
    return finish(converting(ConvertSettings.read({"file": _text(file), "out": out} | settings, ORIGIN)))


def extract(tuned: str | Path, base: str | Path, out: str | Path, **settings: Any) -> Extracted:
    """A LoRA of what a checkpoint does otherwise than its base; settings: those of `limner extract`.

    Raises UserError.
    """
    told = {"tuned": _text(tuned), "base": _text(base), "out": out} | settings
    return finish(extracting(ExtractSettings.read(told, ORIGIN)))


def merge(base: str | Path, out: str | Path, lora: tuple[str, ...], **settings: Any) -> Merged | Resized:
    """LoRAs added to a checkpoint, or with into="lora" to another; settings: those of `limner merge`.

    Raises UserError.
    """
    told = {"base": _text(base), "out": out, "lora": lora} | settings
    return finish(merging(MergeSettings.read(told, ORIGIN)))


def resize(lora: str | Path, out: str | Path, **settings: Any) -> Resized:
    """A LoRA of fewer directions; settings: those of `limner resize`. Raises UserError."""
    return finish(resizing(ResizeSettings.read({"lora": lora, "out": out} | settings, ORIGIN)))


def _read(settings: type[S], values: Mapping[str, Any], elsewhere: Mapping[str, str]) -> S:
    """The command's settings without those that are said elsewhere, or nowhere, in Python, with a warning for each
    number that is far from what is usual. Raises UserError."""
    for name in values.keys() & elsewhere.keys():
        raise UserError(f"{ORIGIN}: {name} is not a setting here; {elsewhere[name]}")
    read = settings.read(values, ORIGIN)
    for question in read.questions():
        warnings.warn(question, stacklevel=3)
    return read


def _require_model(model: object) -> None:
    if not isinstance(model, BaseModel):
        raise UserError(f"{ORIGIN}: model = {model!r} will not do: give the model that limner.load returns")


def _text(path: object) -> object:
    """A path as settings that take files, folders and names want it; what is none is for them to refuse."""
    return str(path) if isinstance(path, Path) else path
