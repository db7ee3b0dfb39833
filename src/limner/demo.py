"""The demo: the pocket base learns a style from the bundled pictures, and a sheet shows what changed."""

import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image
from pydantic import Field

from limner import run
from limner.base import pocket
from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.config import DemoSettings, Settings, TrainSettings, Words, read_toml
from limner.data.folder import load_folder
from limner.device import choose_device, choose_dtype
from limner.events import Event
from limner.files import atomic_path, require_own_folder, write_text
from limner.generate import Request, generate
from limner.infotext import save_png
from limner.named import PromptFiles
from limner.sheet import Row, draw_sheet

SAMPLES = Path(__file__).parent / "samples"
BASE = pocket.NAME
SUBJECTS = ("a fox", "a rabbit", "a lion", "a strawberry", "a rocket", "a sailboat")  # none is among the samples
SHOWN_SAMPLES = 6
SEED = 7
MARK = ".limner-demo"  # a file in the demo's folder, by which it knows it again


class Sample(Settings):
    """sample.toml: what the bundled pictures teach."""

    keyword: Words
    class_word: Words = Field(alias="class")


@dataclass(frozen=True)
class Drawn:
    """So many pictures of a row are there, the last after `seconds`. what: "before", "after" or "without"."""

    what: str
    done: int
    total: int
    seconds: float


@dataclass(frozen=True)
class Sheet:
    """The end of the demo. prompt: one to go on with. unchanged: whether multiplier 0 gave the base's pictures."""

    path: Path
    lora: Path
    models: Path
    prompt: str
    unchanged: bool


def run_demo(settings: DemoSettings, base: str | None = None) -> Generator[Event | Drawn | Sheet, None, None]:
    """Draw, train, export, draw again with `<lora:...>`, and put it all on a sheet. Raises UserError."""
    require_own_folder(settings.out, MARK)
    sample = read_sample(SAMPLES)
    base = base or BASE
    device = choose_device(settings.device)
    model = open_base(base, device, choose_dtype(settings.precision, device))
    write_text(settings.out / MARK, "limner demo writes here.\n", "--out")
    models = settings.out / "models"
    lora = models / "Lora" / f"{sample.keyword}.safetensors"
    prompts = [f"{subject}, {sample.keyword} {sample.class_word}, on a white background" for subject in SUBJECTS]
    before = yield from _draw("before", model, prompts, PromptFiles())
    yield from run.train(_training(settings, sample, base, lora), {})
    files = PromptFiles(lora)
    tag = f"<lora:{lora.stem}:1>"
    after = yield from _draw("after", model, [f"{prompt} {tag}" for prompt in prompts], files, settings.out)
    at_zero = [f"{prompt} <lora:{lora.stem}:0>" for prompt in prompts]
    without = yield from _draw("without", model, at_zero, files)
    unchanged = all(one.tobytes() == other.tobytes() for one, other in zip(before, without, strict=True))
    path = settings.out / "sheet.png"
    pictures = load_folder(SAMPLES).pictures
    some = [picture.open() for picture in pictures[:: max(1, len(pictures) // SHOWN_SAMPLES)][:SHOWN_SAMPLES]]
    rows = [
        Row("Training pictures", f"{SHOWN_SAMPLES} of {len(pictures)}", some),
        Row("Before", "the base alone", before, [prompt.split(",")[0] for prompt in prompts]),
        Row("After", f"the same, with {tag}", after, [prompt.split(",")[0] for prompt in prompts]),
    ]
    notes = [
        f"Prompts: {prompts[0]!r} and so on. Above and below each other: the same prompt and the same noise.",
        _proof(unchanged, len(prompts), lora.stem),
    ]
    sheet = draw_sheet(f"Limner taught its built-in base a style: {sample.keyword!r}", rows, notes)
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)
    yield Sheet(path, lora, models, f"a tiger, {sample.keyword} {sample.class_word} {tag}", unchanged)


def read_sample(folder: Path) -> Sample:
    """What a folder of sample pictures says of itself."""
    path = folder / "sample.toml"
    return Sample.read(read_toml(path), str(path))


def _training(settings: DemoSettings, sample: Sample, base: str, lora: Path) -> TrainSettings:
    """The demo's training, written into the demo's folder; all else is Limner's own choice."""
    values = {
        "images": SAMPLES,
        "keyword": sample.keyword,
        "class": sample.class_word,
        "base": base,
        "out": lora,
        "overwrite": True,
        "run": run.new_folder(settings.out / "runs", lora.stem),
        "cache": settings.out / "cache",
        "previews": 0,
        "steps": settings.steps,
        "seed": settings.seed,
        "device": settings.device,
        "precision": settings.precision,
    }
    return TrainSettings.read({name: value for name, value in values.items() if value is not None}, "the demo")


def _draw(
    what: str, model: BaseModel, prompts: list[str], loras: PromptFiles, out: Path | None = None
) -> Generator[Drawn, None, list[Image.Image]]:
    """A picture of each prompt, from the same noise; kept in the folder if there is one."""
    pictures = []
    for index, prompt in enumerate(prompts, 1):
        began = time.perf_counter()
        (made,) = generate(model, Request(prompt, seed=SEED), loras)
        pictures.append(made.image)
        if out is not None:
            save_png(made.image, made.infotext, out / f"picture-{index}.png")
        yield Drawn(what, index, len(prompts), time.perf_counter() - began)
    return pictures


def _proof(unchanged: bool, count: int, name: str) -> str:
    if unchanged:
        return f"With <lora:{name}:0> all {count} pictures are those of the base, bit for bit."
    return f"With <lora:{name}:0> the pictures are NOT those of the base: please report it."
