"""Limner as a library: what the command line does, as functions."""

import warnings
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, TypeVar

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.config import (
    ConvertSettings,
    Drawing,
    ExtractSettings,
    KeywordSettings,
    MergeSettings,
    Precision,
    Prediction,
    PrepareSettings,
    ResizeSettings,
    Settings,
    read_training,
)
from limner.data.folder import load_folder
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
from limner.evaluate.judge import evaluate_file
from limner.evaluate.pictures import Learned
from limner.evaluate.protocol import Evidence, make_protocol
from limner.evaluate.report import Report
from limner.events import Event
from limner.generate import Generated, Request
from limner.generate import generate as _generate
from limner.generate.read import read_request
from limner.generators import finish
from limner.inspection import Facts, examine
from limner.keyword import Advice, advise
from limner.preparation.again import training
from limner.preparation.prepare import Made, preparing
from limner.run.outputs import prompt_files

__all__ = [
    "convert",
    "evaluate",
    "extract",
    "generate",
    "inspect",
    "keyword",
    "load",
    "merge",
    "prepare",
    "resize",
    "train",
]

ORIGIN = "the arguments"
Given = TypeVar("Given", bound=Settings)


def _questioned(settings: Given) -> Given:
    """The settings, with a Python warning for each number that is far from what is usual."""
    for sentence in settings.questions():
        warnings.warn(sentence, stacklevel=3)
    return settings


def load(
    base: str | Path = "pocket",
    device: str = "auto",
    precision: Precision = "auto",
    prediction_type: Prediction = "auto",
    vae: str | Path | None = None,
) -> BaseModel:
    """A base model: "pocket", a checkpoint file, a diffusers folder, or a hub id in the cache. Raises UserError.

    What there is to be said of it stands in its attribute `warnings`.
    """
    chosen = choose_device(device)
    return open_base(base, chosen, choose_dtype(precision, chosen), prediction_type, None if vae is None else Path(vae))


def train(images: str | Path | None, keyword: str = "", **settings: Any) -> Generator[Event, None, None]:
    """Learn a subject from a folder of pictures or a data-set file, a slider from none; the last events name files.

    settings: those of `limner train`, by the same names (`class_word` for --class), and a dict of the method's own
    under the method's name, as in lora={"rank": 8}. Without a base photographs are
    refused. Unlike the command line it does not start before it is iterated. Raises UserError.
    """
    read, table = read_training({"images": images, "keyword": keyword} | settings, ORIGIN)
    return training(read, table, ORIGIN)


def prepare(images: str | Path, out: str | Path, **settings: Any) -> Made:
    """Make a data set of a folder or zip of pictures; settings: those of `limner prepare` by the same names.

    Raises UserError.
    """
    return finish(preparing(_questioned(PrepareSettings.read({"images": images, "out": out} | settings, ORIGIN))))


def generate(
    model: BaseModel,
    prompt: str,
    models: str | Path = "models",
    lora: tuple[str | Path, ...] = (),
    embedding: tuple[str | Path, ...] = (),
    **settings: Any,
) -> Iterator[Generated]:
    """Make pictures; settings: those of `limner generate` by the same names. Raises UserError."""
    request = read_request(_questioned(Drawing.read({"prompt": prompt} | settings, ORIGIN)))
    return _generate(model, request, prompt_files(Path(models), map(Path, lora), map(Path, embedding)))


def inspect(path: str | Path) -> Facts:
    """What a file of weights, a picture, or the folder of a run or of a model is. Raises UserError."""
    return examine(Path(path))


def evaluate(
    model: BaseModel,
    file: str | Path,
    images: str | Path,
    prompts: tuple[str, ...] = (),
    keyword: str = "",
    class_word: str = "",
) -> Report:
    """A file's figures against a folder of real pictures. What is left out is as the file and the captions say.

    Raises UserError.
    """
    learned = Learned(Path(file))
    evidence = Evidence.of(load_folder(Path(images)).pictures, learned.images_sha256)
    keyword, class_word = keyword or learned.keyword, class_word or learned.class_word
    protocol, evidence = make_protocol(evidence, keyword, class_word, Request("", seed=1, count=3), prompts)
    return evaluate_file(model, learned, evidence, protocol)


def keyword(model: BaseModel, keyword: str, class_word: str = "", **settings: Any) -> Advice:
    """What a base makes of a keyword, and emptier ones; settings: those of `limner keyword` by the same names.

    Raises UserError.
    """
    told = _questioned(KeywordSettings.read({"keyword": keyword, "class": class_word} | settings, ORIGIN))
    request = Request("", steps=told.drawing_steps, seed=told.seed, count=told.count)
    return finish(advise(model, told.keyword, told.class_word, request, told.proposals))


def convert(file: str | Path, out: str | Path, **settings: Any) -> Converted:
    """A file in another format; settings: those of `limner convert` by the same names. Raises UserError."""
    return finish(converting(ConvertSettings.read({"file": str(file), "out": out} | settings, ORIGIN)))


def extract(tuned: str | Path, base: str | Path, out: str | Path, **settings: Any) -> Extracted:
    """A LoRA of what a checkpoint does otherwise than its base; settings: those of `limner extract` by the same names.

    Raises UserError.
    """
    told = {"tuned": str(tuned), "base": str(base), "out": out} | settings
    return finish(extracting(ExtractSettings.read(told, ORIGIN)))


def merge(base: str | Path, out: str | Path, lora: tuple[str, ...], **settings: Any) -> Merged | Resized:
    """LoRAs added to a checkpoint, or with into="lora" to another; settings: those of `limner merge` by the same names.

    Raises UserError.
    """
    told = {"base": str(base), "out": out, "lora": lora} | settings
    return finish(merging(MergeSettings.read(told, ORIGIN)))


def resize(lora: str | Path, out: str | Path, **settings: Any) -> Resized:
    """A LoRA of fewer directions; settings: those of `limner resize` by the same names. Raises UserError."""
    return finish(resizing(ResizeSettings.read({"lora": lora, "out": out} | settings, ORIGIN)))
