"""`python -m bench.time_to_likeness --diffusers-examples PATH`: seconds and steps until a subject is learned, beside
diffusers' example scripts.

PATH is the folder `examples` of a checkout of diffusers; nothing of it is in this repository. Its scripts run as they
are, with the settings of their READMEs except the size of the pictures, which is the base's, and with the folder
bench/shim in the place of torchvision, of which they take a few transforms of pictures.

All learn from the same pictures (the scripts have one sentence for all of them, Limner also reads the captions beside
them), on the same base, in processes of their own, one after the other on this machine. The judge is that of
bench.methods; `reached` is a normalised figure of 0.6 unless --until says otherwise. A script's states are judged every
--every steps; the first good one is then timed in a run of that length which saves nothing on the way, so that saving
does not count against it. Limner's steps are tried upwards, each a whole training of that length, since its learning
rate follows the length. Seconds are those of a whole process, from start to exported file.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load_file

from bench.methods import ROOT, SUBJECTS, Subject, open_judge, settings_of
from limner.base.find import find_base
from limner.base.model import BaseModel
from limner.compare.training import Failed, train_method, training_arguments
from limner.evaluate.judge import Judge
from limner.evaluate.pictures import Learned, State

LAUNCHER = Path(__file__).resolve().parent / "shim" / "run.py"
LADDER = (25, 50, 75, 100, 150, 200, 300, 400, 600, 800, 1200, 1600)  # Limner's steps


@dataclass(frozen=True)
class Recipe:
    """An example script, the README's settings of it, and the method of Limner that does the same."""

    script: str
    settings: tuple[str, ...]
    steps: int
    method: str


CONSTANT = ("--lr_scheduler=constant", "--lr_warmup_steps=0", "--train_batch_size=1")
RECIPES = {
    "DreamBooth": Recipe(
        "dreambooth/train_dreambooth.py",
        ("--learning_rate=5e-6", "--gradient_accumulation_steps=1", *CONSTANT),
        400,
        "full",
    ),
    "DreamBooth-LoRA": Recipe(
        "dreambooth/train_dreambooth_lora.py",
        ("--learning_rate=1e-4", "--gradient_accumulation_steps=1", *CONSTANT),
        500,
        "lora",
    ),
    "textual inversion": Recipe(
        "textual_inversion/textual_inversion.py",
        ("--learning_rate=5e-4", "--scale_lr", "--gradient_accumulation_steps=4", *CONSTANT),
        3000,
        "embedding",
    ),
}


class Unet:
    """The UNet that a script saved, in the place of the base's."""

    def __init__(self, folder: Path) -> None:
        self._tensors = load_file(folder / "diffusion_pytorch_model.safetensors")

    @contextmanager
    def on(self, model: BaseModel) -> Iterator[None]:
        unet = model.networks["unet"]
        before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
        unet.load_state_dict(self._tensors)
        try:
            yield
        finally:
            unet.load_state_dict(before)


def run_script(
    recipe: Recipe,
    subject: Subject,
    images: Path,
    out: Path,
    steps: int,
    every: int | None,
    options: argparse.Namespace,
) -> dict[str, float]:
    """Run an example script for so many steps; returns what it took. Raises CalledProcessError."""
    shutil.rmtree(out, ignore_errors=True)
    script = options.diffusers_examples / recipe.script
    base = find_base(options.base)
    common = [
        f"--pretrained_model_name_or_path={base}",
        f"--output_dir={out}",
        f"--max_train_steps={steps}",
        "--seed=0",
    ]
    size = json.loads((base / "unet" / "config.json").read_text())["sample_size"] * 8
    common += [f"--resolution={size}", f"--checkpointing_steps={every or 10 * steps}"]
    if recipe.method == "embedding":
        own = [
            f"--train_data_dir={images}",
            f"--learnable_property={subject.kind}",
            f"--save_steps={every or 10 * steps}",
        ]
        first = subject.class_word.split()[-1]
        own += [f"--placeholder_token={subject.keyword}", f"--initializer_token={first}"]
    else:
        own = [f"--instance_data_dir={images}", f"--instance_prompt=a {subject.keyword} {subject.class_word}"]
    began, used = time.monotonic(), processor_seconds()
    subprocess.run(
        [sys.executable, "-P", str(LAUNCHER), str(script), *common, *own, *recipe.settings],
        check=True,
        stdout=sys.stderr,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "1"},
    )
    return {"seconds": time.monotonic() - began, "processor_seconds": processor_seconds() - used}


def processor_seconds() -> float:
    """What the processes that this one started, and that have ended, used of all cores."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def state_at(recipe: Recipe, out: Path, step: int) -> State:
    """What a script had learned by a step."""
    if recipe.method == "full":
        return Unet(out / f"checkpoint-{step}" / "unet")
    if recipe.method == "lora":
        return Learned(out / f"checkpoint-{step}" / "pytorch_lora_weights.safetensors")
    return Learned(out / f"learned_embeds-steps-{step}.safetensors")


def of_script(name: str, subject: Subject, judge: Judge, options: argparse.Namespace) -> dict[str, Any]:
    """Steps and seconds of an example script until the figure is reached, or what it came to at its end."""
    recipe = RECIPES[name]
    folder = options.out / subject.folder.name / name.replace(" ", "-")
    images = options.out / subject.folder.name / "pictures-only"  # the scripts would read captions as pictures
    images.mkdir(parents=True, exist_ok=True)
    for path in (subject.folder / "train").glob("*.png"):
        shutil.copyfile(path, images / path.name)
    steps = options.script_steps or recipe.steps
    run_script(recipe, subject, images, folder / "saved", steps, options.every, options)
    best: dict[str, Any] = {"reached": False, "figure": float("-inf")}
    for step in range(options.every, steps + 1, options.every):
        state = state_at(recipe, folder / "saved", step)
        if recipe.method == "embedding":
            state = _renamed(state, subject.keyword)
        figure, _ = judge.figure(state, f"{name}-{step}")
        value = figure.normalised if figure.normalised is not None else float("-inf")
        best = max(best, {"reached": False, "figure": value, "steps": step}, key=lambda each: each["figure"])
        if value >= options.until:
            took = run_script(recipe, subject, images, folder / "timed", step, None, options)
            return {"reached": True, "figure": value, "steps": step} | took
    return best


def _renamed(state: State, keyword: str) -> State:
    """The embedding under the word that prompts say, whatever its file is called."""
    assert isinstance(state, Learned)
    state.weights.metadata["modelspec.trigger_phrase"] = keyword
    return state


def of_limner(name: str, subject: Subject, judge: Judge, options: argparse.Namespace) -> dict[str, Any]:
    """The same of Limner's method, each rung of the ladder a training of its own."""
    method = RECIPES[name].method
    best: dict[str, Any] = {"reached": False, "figure": float("-inf")}
    for steps in (step for step in LADDER if step <= (options.limner_steps or LADDER[-1])):
        folder = options.out / subject.folder.name / f"limner-{method}-{steps}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        arguments = training_arguments(method, subject.folder / "train", settings_of(subject, 0, options))
        cache = ["--set", f"cache={folder / 'cache'}"]  # an empty one: encoding counts
        used = processor_seconds()
        trained = train_method(
            folder, folder / f"{subject.keyword}.safetensors", [*arguments, "--steps", str(steps), *cache], quiet=True
        )
        if isinstance(trained, Failed):
            return best | {"failure": trained.reason}
        used = processor_seconds() - used
        figure, _ = judge.figure(Learned(folder / trained.file), f"limner-{method}-{steps}")
        value = figure.normalised if figure.normalised is not None else float("-inf")
        found = {"figure": value, "steps": steps, "seconds": trained.seconds, "processor_seconds": used}
        if value >= options.until:
            return {"reached": True, **found}
        best = max(best, {"reached": False, **found}, key=lambda each: each["figure"])
    return best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--diffusers-examples", type=Path, required=True, help="the folder examples of diffusers")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "time-to-likeness")
    parser.add_argument("--subject", default="helicopter")
    parser.add_argument("--recipes", nargs="*", choices=list(RECIPES), default=list(RECIPES))
    parser.add_argument("--until", type=float, default=0.6)
    parser.add_argument("--every", type=int, default=50, help="steps between a script's judged states")
    parser.add_argument("--script-steps", type=int, help="of a script; its README's by default")
    parser.add_argument("--limner-steps", type=int, help="the longest of Limner's trainings")
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--count", type=int, default=3)
    parser.add_argument("--drawing-steps", type=int, default=20)
    options = parser.parse_args()
    options.minutes, options.train = None, []
    missing = [
        recipe.script for recipe in RECIPES.values() if not (options.diffusers_examples / recipe.script).is_file()
    ]
    if missing:
        parser.error(f"there is no {missing[0]} in {options.diffusers_examples}")
    subject = Subject.read(SUBJECTS / options.subject)
    shutil.rmtree(options.out / subject.folder.name, ignore_errors=True)  # times are of this run
    judge = open_judge(subject, options)
    for name in options.recipes:
        ours = of_limner(name, subject, judge, options)
        theirs = of_script(name, subject, judge, options)
        row: dict[str, Any] = {"subject": options.subject, "recipe": name, "limner": ours, "diffusers": theirs}
        if ours["reached"] and theirs["reached"]:
            row["share_of_time"] = {
                what: round(ours[what] / theirs[what], 3) for what in ("seconds", "processor_seconds")
            }
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
