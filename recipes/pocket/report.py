"""Judge the pocket base: 500 prompts through diffusers' own pipeline, the autoencoder, and sheets; writes REPORT.md."""

import hashlib
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DPMSolverMultistepScheduler, StableDiffusionPipeline
from PIL import Image

from limner.device import choose_dtype, generator
from limner.sheet import Row, draw_sheet
from recipes.pocket import BUILD, ROOT, SIZE, classifier
from recipes.pocket.autoencoder import held_out_images, psnr_by_channel, reconstruct
from recipes.pocket.icons import Nouns, read_nouns
from recipes.pocket.scenes import COLOURS, TEMPLATES, Placed, Scene, render_scene, with_article
from recipes.pocket.ship import fingerprint
from recipes.pocket.styles import STYLES, load_styled
from recipes.pocket.training import trainings
from recipes.pocket.unet import PIPELINE

FOLDER = ROOT / "recipes" / "pocket"
DRAWN = BUILD / "report"
QUESTIONS, BATCH = 500, 20
STEPS, GUIDANCE = 20, 3.0  # more makes colours shrill; on 100 other questions it changed no share by over two points
SHEET_WIDTH = 1000  # pixels
SEED = 3  # of the questions and of the noise
SHOWN = ("fox", "tiger", "red-apple", "guitar", "rocket", "church", "penguin", "umbrella")
SCENES = {  # what the sheet says, and the prompt
    "small dog, left": "a small dog on the left, flat style, on a green background",
    "small dog, right": "a small dog on the right, comic style, on a green background",
    "small balloon, top": "a small balloon at the top, glossy style, on a blue background",
    "small balloon, bottom": "a small balloon at the bottom, sticker style, on a blue background",
    "large mushroom": "a large mushroom, pixel art style, on a white background",
    "cat and dog": "a cat and a dog, line art style, on a yellow background",
    "rocket, guitar": "a rocket next to a guitar, silhouette style, on an orange background",
    "apple, banana": "an apple to the left of a banana, watercolor style, on a white background",
}


@dataclass(frozen=True)
class Accuracy:
    """Shares of pictures on which the judge agrees with the prompt."""

    style: float
    colour: float
    top1: float
    top5: float


def question(index: int, nouns: Nouns) -> Scene:
    """One object in one style on one colour, as the prompt says it, and as a real render would show it."""
    rng = np.random.default_rng([SEED, index])
    noun, style, colour = (str(rng.choice(list(names))) for names in (nouns.learned, STYLES, COLOURS))
    words = f"a {colour} background".replace("a orange", "an orange")
    caption = str(rng.choice(TEMPLATES)).format(subject=with_article(nouns.word(noun)), style=style, background=words)
    side = int(rng.integers(92, 117))
    red, green, blue = COLOURS[colour]
    return Scene(style, colour, (red, green, blue), (Placed(noun, side, ((SIZE - side) // 2,) * 2),), caption)


def open_pipeline() -> Any:
    """The finished pipeline as diffusers opens it, with the sampler that Limner takes by default."""
    dtype = choose_dtype("auto", torch.device("cpu"))
    pipeline = StableDiffusionPipeline.from_pretrained(PIPELINE, torch_dtype=dtype)
    pipeline.scheduler = DPMSolverMultistepScheduler.from_config(pipeline.scheduler.config, use_karras_sigmas=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def draw(pipeline: Any, name: str, prompts: Sequence[str]) -> list[np.ndarray]:
    """Pictures uint8 (128, 128, 3) of the prompts; kept in the build folder, so that a stopped report goes on."""
    DRAWN.mkdir(parents=True, exist_ok=True)
    weights = fingerprint()
    pictures: list[np.ndarray] = []
    for at in range(0, len(prompts), BATCH):
        batch = list(prompts[at : at + BATCH])
        inputs = repr((weights, batch, at, STEPS, GUIDANCE, SEED))
        path = DRAWN / f"{name}-{hashlib.sha256(inputs.encode()).hexdigest()[:16]}.npy"
        if not path.exists():
            generators = [generator(SEED * 1000 + at + i) for i in range(len(batch))]
            images = pipeline(
                batch, num_inference_steps=STEPS, guidance_scale=GUIDANCE, generator=generators, output_type="np"
            ).images
            partial = path.with_suffix(".partial.npy")
            np.save(partial, (images * 255).round().astype(np.uint8))
            partial.rename(path)
            print(f"{name}: {at + len(batch)} of {len(prompts)}", flush=True)
        pictures.extend(np.load(path))
    return pictures


def judge(network: classifier.Classifier, pictures: list[np.ndarray], scenes: list[Scene], nouns: Nouns) -> Accuracy:
    styles, objects = classifier.classify(network, pictures)
    named = torch.tensor([nouns.learned.index(scene.objects[0].noun) for scene in scenes])
    hits = objects[:, :5] == named[:, None]
    drawn_in = torch.tensor([list(STYLES).index(scene.style) for scene in scenes])
    colours = [classifier.background(p) == scene.colour for p, scene in zip(pictures, scenes, strict=True)]
    return Accuracy(
        style=float((styles == drawn_in).float().mean()),
        colour=statistics.fmean(colours),
        top1=float(hits[:, 0].float().mean()),
        top5=float(hits.any(1).float().mean()),
    )


def save_sheet(name: str, title: str, rows: list[Row]) -> None:
    """A sheet of moderate width in 256 colours: these pages are looked at, not measured."""
    page = draw_sheet(title, rows, [])
    page.thumbnail((SHEET_WIDTH, 10 * SHEET_WIDTH), Image.Resampling.LANCZOS)
    path = FOLDER / "report" / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    page.quantize(256).save(path, optimize=True)


def as_images(pictures: Sequence[np.ndarray]) -> list[Image.Image]:
    return [Image.fromarray(pixels) for pixels in pictures]


def draw_sheets(pipeline: Any, scenes: list[Scene], drawn: list[np.ndarray]) -> None:
    """The first questions beside real renders; every style; places and pairs."""
    icons, nouns = load_styled(), read_nouns()
    width = len(SHOWN)
    rows = []
    for at in range(0, 4 * width, width):
        asked = scenes[at : at + width]
        words = [nouns.word(scene.objects[0].noun) for scene in asked]
        rows.append(Row("drawn", "", as_images(drawn[at : at + width]), words))
        ways = [f"{scene.style}, {scene.colour}" for scene in asked]
        rows.append(Row("real", "", as_images([render_scene(scene, icons) for scene in asked]), ways))
    save_sheet("questions", f"The first {4 * width} of {QUESTIONS} questions", rows)
    prompts = [
        f"{with_article(nouns.word(noun))}, {style} style, on a white background" for style in STYLES for noun in SHOWN
    ]
    pictures = as_images(draw(pipeline, "styles", prompts))
    rows = [Row(style, "", pictures[at * width : (at + 1) * width]) for at, style in enumerate(STYLES)]
    save_sheet("styles", f"The {len(STYLES)} styles that it knows", rows)
    pictures = as_images(draw(pipeline, "scenes", list(SCENES.values())))
    save_sheet("scenes", "Places and pairs", [Row("drawn", "", pictures, list(SCENES))])


def judge_autoencoder() -> dict[str, float]:
    """PSNR in dB on held-out icons, of the weights in half precision that ship; and a sheet of some."""
    vae = AutoencoderKL.from_pretrained(PIPELINE / "vae").float()
    images = held_out_images()
    restored = reconstruct(vae, images)
    picked = torch.linspace(0, len(images) - 1, len(SHOWN)).long()
    tiles = [
        as_images([((x.clamp(-1, 1) + 1) * 127.5).byte().permute(1, 2, 0).numpy() for x in of[picked]])
        for of in (images, restored)
    ]
    rows = [Row("original", "", tiles[0]), Row("restored", "", tiles[1])]
    save_sheet("autoencoder", "Held-out icons through the autoencoder", rows)
    return psnr_by_channel(images, restored) | {"icons": float(len(images))}


def write_report(base: Accuracy, real: Accuracy, psnr: dict[str, float]) -> None:
    rows = "\n".join(
        f"| {label} | {aim} | {getattr(base, key):.1%} | {getattr(real, key):.1%} |"
        for label, key, aim in (
            (f"style, of {len(STYLES)}", "style", "90%"),
            ("background colour, of 12", "colour", "100%"),
            (f"object among the first five, of {len(read_nouns().learned)}", "top5", "99%"),
            ("object, first answer", "top1", ""),
        )
    )
    logs = "\n".join(
        f"| {each['name']} | {each['steps']:,} | {each['rate']} | {each['loss']:.4f} |" for each in trainings()
    )
    made = json.loads((PIPELINE / "recipe.json").read_text())
    text = f"""# The pocket base, measured

Written by `python -m recipes.pocket report`; weights {fingerprint()[:12]}, after {made["steps"]:,} steps
of {made["batch"]} in the phase {made["phase"]}, on {made["scenes"]:,} scenes.

## Prompts
{QUESTIONS} prompts like "{question(0, read_nouns()).caption}", drawn through diffusers' `StableDiffusionPipeline`
(DPM++ 2M Karras, {STEPS} steps, guidance {GUIDANCE:g}). The judge of style and object is a classifier trained on real
renders only, of other scenes; the background's colour is read from the border. Beside it, the same judge on real
renders of the same prompts.

| | aim | drawn | real |
|---|---|---|---|
{rows}

![drawn and real](report/questions.png)
![every style](report/styles.png)
![places and pairs](report/scenes.png)

## Autoencoder
PSNR on {psnr["icons"]:.0f} held-out icons (objects and a style that no training saw), in half-precision weights:
**{psnr["all"]:.1f} dB** (aim 27); red {psnr["r"]:.1f}, green {psnr["g"]:.1f}, blue {psnr["b"]:.1f}.

![held-out icons and what is left of them](report/autoencoder.png)

## Training
On two CPU cores or one, shared with other work for part of the time; images a second are medians of the log. Losses of
different stages do not compare: unet-details counts noisy timesteps more.

| stage | steps | images a second | last loss |
|---|---|---|---|
{logs}
"""
    (FOLDER / "REPORT.md").write_text(text)


def run() -> None:
    nouns = read_nouns()
    icons = load_styled()
    scenes = [question(index, nouns) for index in range(QUESTIONS)]
    pipeline = open_pipeline()
    drawn = draw(pipeline, "questions", [scene.caption for scene in scenes])
    network = classifier.load()
    base = judge(network, drawn, scenes, nouns)
    real = judge(network, [render_scene(scene, icons) for scene in scenes], scenes, nouns)
    draw_sheets(pipeline, scenes, drawn)
    write_report(base, real, judge_autoencoder())
    print(f"drawn {base}\nreal {real}", flush=True)
    DRAWN.joinpath("done").write_text(fingerprint())


def done() -> bool:
    """Whether the report is about this version of the pipeline."""
    mark = DRAWN / "done"
    return mark.exists() and mark.read_text() == fingerprint()


if __name__ == "__main__":
    run()
