"""Several methods taught the same subject from the same pictures, and judged alike by pictures that taught none."""

import json
import re
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from limner.base.find import find_base
from limner.base.open import open_base
from limner.compare.advice import advice
from limner.compare.entry import Entry
from limner.compare.page import SHOWN, Shown, page
from limner.compare.split import MARK, read_note, split
from limner.compare.training import Failed, learn, training_arguments
from limner.config import METHOD_NAMES, CompareSettings
from limner.config.common import cache_folder
from limner.data.folder import ImageFolder
from limner.device import choose_device, choose_dtype
from limner.errors import UserError
from limner.evaluate.clip import Clip
from limner.evaluate.judge import Judge, Pictures, Progress
from limner.evaluate.pictures import Learned
from limner.evaluate.protocol import Evidence, make_protocol, request_of
from limner.events import Warned
from limner.files import locked, require_cache, require_own_folder, require_writable, write_text
from limner.generators import retold
from limner.methods.method import find_methods
from limner.run.base import require_drawings

SEED = 1  # of the drawings
BEGUN = "compare.json"


@dataclass(frozen=True)
class Training:
    """A method's training begins, or is found finished."""

    method: str


@dataclass(frozen=True)
class Learning:
    """So many steps of a method's training are done, of at most so many; 0 as long as it is not known."""

    method: str
    done: int
    total: int


@dataclass(frozen=True)
class Judging:
    """A method's pictures, or the base's, are being drawn."""

    state: str
    progress: Progress


Happening = Training | Learning | Judging | Warned


@dataclass(frozen=True)
class Comparison:
    """The end: what was found, and where it is written. drawn: {method: its pictures, a list a prompt}, the base's
    first, those of failed methods left out."""

    page: Path
    entries: list[Entry]
    advice: list[str]
    values: dict[str, Any]
    drawn: dict[str, Pictures]


def compare(settings: CompareSettings, quiet: bool = False) -> Generator[Happening, None, Comparison]:
    """Split, train each method, judge each, write report.html and report.json.

    The same folder again goes on where it was stopped; closing the generator stops it. A method that fails is named in
    the report. Raises UserError, and KeyboardInterrupt once the training that was under way has saved its state.
    """
    methods = read_methods(settings)
    find_base(settings.base)
    clip = None if settings.clip is None else Clip(settings.clip)
    out = settings.out or Path(f"compare-{_file_stem(settings.keyword)}")
    require_cache(cache_folder(), "")
    require_own_folder(out, MARK if (out / MARK).exists() else BEGUN)
    require_writable(out / BEGUN)
    with locked(out):
        training, judging = split(settings.images, out, settings.seed)
        yield from map(Warned, training.remarks)
        require_drawings(settings, training.pictures)
        _require_same(out, settings)
        entries = []
        for method in methods:
            yield Training(method)
            entries.append((yield from _train(method, out, training, settings, quiet)))
        entries, prompts, columns = yield from _judge(entries, out, training, judging, settings, clip)
        some = [picture.open() for picture in training.pictures[:: -(-len(training.pictures) // SHOWN)]]
        title = f"{' '.join(f'{settings.keyword} {settings.class_word}'.split())}: {len(methods)} methods compared"
        shown = Shown(title, _about(settings, training, judging), some, prompts, columns)
        return _write(out, settings, entries, shown)


def read_methods(settings: CompareSettings) -> list[str]:
    """The names of the methods to compare, as people say them. Raises UserError."""
    names = [name.strip() for name in settings.methods.split(",") if name.strip()]
    if not names:
        raise UserError("there is no method to compare; name some with --methods, as in lora,embedding")
    if len(set(names)) < len(names):
        twice = max(names, key=names.count)
        raise UserError(f"--methods {settings.methods} names {twice} twice; say it once")
    for name in names:
        if not all(method.needs_images for method in find_methods(METHOD_NAMES.get(name, name)).values()):
            raise UserError(f"the method {name} learns from prompts alone and has nothing to compare; leave it out")
    return names


def _train(
    method: str, out: Path, training: ImageFolder, settings: CompareSettings, quiet: bool
) -> Generator[Learning, None, Entry]:
    folder = out / _folder_name(method)
    folder.mkdir(exist_ok=True)
    file = folder / f"{_file_stem(settings.keyword)}.safetensors"
    steps = learn(folder, file, training_arguments(method, training.folder, settings), quiet)
    done = yield from retold(steps, lambda told: Learning(method, *told))
    if isinstance(done, Failed):
        return Entry(method, failure=done.reason)
    return Entry(method, trained=done)


def _folder_name(method: str) -> str:
    return re.sub(r"[^\w+-]", "_", method)


def _judge(
    entries: Sequence[Entry],
    out: Path,
    training: ImageFolder,
    judging: ImageFolder,
    settings: CompareSettings,
    clip: Clip | None,
) -> Generator[Judging, None, tuple[list[Entry], Sequence[str], dict[str, Pictures]]]:
    """The entries with their reports, the prompts, and what every state drew of them."""
    if not any(entry.trained for entry in entries):
        return list(entries), (), {}
    evidence = Evidence(judging.pictures, training.pictures, held_out=True)
    request = request_of(settings, SEED)
    subject = None if settings.subject == "auto" else settings.subject
    protocol, evidence = make_protocol(
        evidence, settings.keyword, settings.class_word, request, settings.prompt, subject, settings.floor
    )
    device = choose_device(settings.device)
    model = open_base(
        settings.base, device, choose_dtype(settings.precision, device), settings.prediction_type, settings.vae
    )
    judge = Judge(model, evidence, protocol, out / "pictures", clip)
    for progress in judge.prepare():
        yield Judging("base", progress)
    drawn = {"base": judge.base_pictures}
    judged = []
    for entry in entries:
        if entry.trained is None:
            judged.append(entry)
            continue
        try:
            name = _folder_name(entry.method)
            learned = Learned(out / name / entry.trained.file)
            for each in judge.judge(learned, name):
                if isinstance(each, Progress):
                    yield Judging(entry.method, each)
                else:
                    judged.append(replace(entry, report=each))
            drawn[entry.method] = judge.pictures_of(name)
        except UserError as problem:
            judged.append(replace(entry, failure=str(problem)))
    return judged, protocol.prompts, drawn


def _write(
    out: Path,
    settings: CompareSettings,
    entries: list[Entry],
    shown: Shown,
) -> Comparison:
    """report.json and report.html. Raises UserError, after writing, if no method came to anything."""
    sentences = advice(entries)
    values = {
        "keyword": settings.keyword,
        "class": settings.class_word,
        "base": Path(settings.base).name,
        "seed": settings.seed,
        "minutes": settings.minutes,
        "prompts": list(shown.prompts),
        "methods": [entry.to_dict() for entry in entries],
        "advice": sentences,
    }
    write_text(out / "report.json", json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    write_text(out / "report.html", page(shown, entries, sentences))
    if not any(entry.report for entry in entries):
        raise UserError(f"no method came to an end; {entries[0].label}: {entries[0].failure}")
    return Comparison(out / "report.html", entries, sentences, values, shown.columns)


def _about(settings: CompareSettings, training: ImageFolder, judging: ImageFolder) -> list[str]:
    """What a reader of the page must know to believe it."""
    time = f", {settings.minutes:g} minutes for each method" if settings.minutes is not None else ""
    return [
        f"Each method learned from the same {len(training.pictures)} pictures, on the base "
        f"{Path(settings.base).name}{time}. {len(judging.pictures)} others, which took no part in any training, judge; "
        f"{settings.count} drawings of each prompt. After ± stands the spread over these drawings: a difference "
        "below twice the spread means nothing.",
    ]


def _file_stem(keyword: str) -> str:
    return re.sub(r"[^\w.-]+", "_", keyword).strip("._") or "subject"


def _require_same(out: Path, settings: CompareSettings) -> None:
    """Note what decides all trainings, or raise UserError if they were begun with something else."""
    decides = ("keyword", "class_word", "base", "prediction_type", "vae", "seed", "minutes", "precision")
    now = settings.model_dump(mode="json", include=set(decides))
    path = out / BEGUN
    if not path.exists():
        write_text(path, json.dumps(now) + "\n")
        return
    was = read_note(path, dict)
    changed = [name for name in decides if was.get(name) != now[name]]
    if changed:
        name = changed[0]
        raise UserError(
            f"{out} was begun with {name.removesuffix('_word')} {was.get(name)!r}, not {now[name]!r}; "
            "give another folder with --out"
        )
