"""`python -m bench.likeness`: how much of the held-out style the demo's LoRA learns, over three trainings.

Judged on objects that the base knows and that are not among the sample pictures, each beside the held-out style's own
drawing of it, as the base would have to place it. Two measures, both object by object:

style   share of the way from the base's drawings to the real ones by channel statistics, how they are drawn
object  the same by pooled features, which also ask for the very design that no picture of the training shows

Floor: the untrained base in the known style that comes nearest, by that measure; the base under the LoRA's own prompts
is given too. Ceiling, and the end of the way: the real drawings through the base's autoencoder, the best it could show.
Before anything generated is judged, real drawings are: each known style must be further off than chance would put it.

Needs the recipe's libraries (`uv sync --group recipe`) and its icon packages. Prints one JSON line at the end.
"""

import argparse
import json
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from limner.base.model import BaseModel
from limner.base.open import open_base
from limner.config import DemoSettings
from limner.demo import SAMPLES, Sample, run_demo
from limner.device import choose_dtype, generator, peak_memory_bytes
from limner.evaluate.features import Evaluator, Features
from limner.evaluate.metrics import (
    Figure,
    Spread,
    likeness_by_object,
    near_copies,
    share_of_way,
    style_distance,
    style_distance_by_object,
    style_scale,
)
from limner.evaluate.pictures import Learned, draw, through_autoencoder
from limner.generate import Request
from limner.sheet import Row, draw_sheet
from recipes.pocket import SIZE
from recipes.pocket.icons import SETS, load_held_out, load_icons, read_nouns
from recipes.pocket.scenes import Placed, Scene, render_scene, with_article

UNSEEN = "unseen"  # load_held_out's name of the held-out style
SIDE = 107  # pixels that an icon fills of 128, as in the sample pictures
RESAMPLES = 200
SHOWN = 8


def objects(count: int) -> list[str]:
    """Nouns that every style draws and no sample shows, evenly from the recipe's list."""
    icons = load_held_out().keys() | load_icons().keys()
    shown = {path.stem for path in SAMPLES.glob("*.png")}
    nouns = [
        noun
        for noun in read_nouns().learned
        if noun not in shown and all(f"{style}/{noun}" in icons for style in (UNSEEN, *SETS))
    ]
    return [nouns[int(at)] for at in np.linspace(0, len(nouns) - 1, min(count, len(nouns)))]


def real_drawings(nouns: list[str]) -> dict[str, list[Image.Image]]:
    """Every style's own drawings of the objects, centred on white."""
    icons = load_icons() | load_held_out()
    corner = ((SIZE - SIDE) // 2,) * 2
    return {
        style: [
            Image.fromarray(
                render_scene(Scene(style, "white", (255, 255, 255), (Placed(noun, SIDE, corner),), ""), icons)
            )
            for noun in nouns
        ]
        for style in (UNSEEN, *SETS)
    }


def separation(real: dict[str, Features], scale: torch.Tensor) -> dict[str, dict[str, float]]:
    """How far the known styles' real drawings are from the held-out style's, beside what chance would make of it.

    `chance`: the 95th percentile of the distance when each object's two drawings are exchanged or not at random.
    "itself": two halves of the held-out style, which show different objects.
    """
    unseen, random = real[UNSEEN], generator(0)
    table = {}
    for style in SETS:
        chance = []
        for _ in range(RESAMPLES):
            signs = torch.randint(0, 2, (len(unseen), 1), generator=random) * 2 - 1
            flipped = unseen.style + signs * (real[style].style - unseen.style)
            chance.append(style_distance_by_object(Features(unseen.pooled, flipped), unseen, scale))
        table[style] = {
            "distance": style_distance_by_object(real[style], unseen, scale),
            "chance": float(np.quantile(chance, 0.95)),
            "cosine": likeness_by_object(real[style], unseen),
        }
    order = torch.randperm(len(unseen), generator=random).tolist()
    half = len(order) // 2
    table["itself"] = {"distance": style_distance(unseen[order[:half]], unseen[order[half:]], scale)}
    return table


def pictures(model: BaseModel, prompts: list[str], lora: Learned | None) -> list[Image.Image]:
    return [images[0] for images in draw(model, prompts, lora, Request(prompt="", seed=1))]


def demo_lora(folder: Path, seed: int, steps: int | None, base: str) -> Path:
    """The LoRA that `limner demo --seed SEED` makes; a finished one is taken as it is."""
    path = folder / f"seed-{seed}" / "models" / "Lora" / "fxm.safetensors"
    if not path.exists():
        for _ in run_demo(DemoSettings(out=folder / f"seed-{seed}", seed=seed, steps=steps), base=base):
            pass
    return path


def summary(floor: float, same_prompts: float, ceiling: float, scores: list[float]) -> dict[str, object]:
    """The scores between the ceiling and either floor, with their spread over the trainings."""

    def spread(low: float) -> dict[str, float | None] | None:
        shares = [Figure(score, low, ceiling).normalised for score in scores]
        known = [share for share in shares if share is not None]
        return asdict(Spread.of(known)) if known else None

    return {
        "floor": floor,
        "floor_same_prompts": same_prompts,
        "ceiling": ceiling,
        "scores": scores,
        "normalised": spread(floor),
        "normalised_same_prompts": spread(same_prompts),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("build/likeness"))
    parser.add_argument("--base", default="pocket")
    parser.add_argument("--objects", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, help="of each training; the demo's own if left out")
    arguments = parser.parse_args()
    start = time.perf_counter()
    nouns = objects(arguments.objects)
    words = [with_article(read_nouns().word(noun)) for noun in nouns]
    evaluator = Evaluator()
    drawings = real_drawings(nouns)
    real = {style: evaluator(images) for style, images in drawings.items()}
    scale = style_scale(*real.values())  # of real drawings alone, so that no training moves the yardstick
    separated = separation(real, scale)
    for style, row in separated.items():
        print(style, {name: round(value, 3) for name, value in row.items()}, flush=True)
    figures = judge(arguments, words, drawings, evaluator, scale)
    print(
        json.dumps(
            {
                "objects": len(nouns),
                "real_styles": separated,
                "separates": all(separated[style]["distance"] > separated[style]["chance"] for style in SETS),
                **figures,
                "seconds": round(time.perf_counter() - start, 1),
                "peak_memory_mb": peak_memory_bytes() // 1_000_000,
            }
        )
    )


def judge(
    arguments: argparse.Namespace,
    words: list[str],
    drawings: dict[str, list[Image.Image]],
    evaluator: Evaluator,
    scale: torch.Tensor,
) -> dict[str, object]:
    """Both measures of the demo's LoRA, and the share of its pictures that copy a sample."""
    device = torch.device("cpu")
    model = open_base(arguments.base, device, choose_dtype("auto", device))
    sample = Sample.read(tomllib.loads((SAMPLES / "sample.toml").read_text()), "sample.toml")
    prompts = [f"{word}, {sample.keyword} {sample.class_word}, on a white background" for word in words]
    drawn = {
        style: pictures(model, [f"{word}, {style} style, on a white background" for word in words], None)
        for style in SETS
    }
    drawn["same prompts"] = pictures(model, prompts, None)
    known = {name: evaluator(images) for name, images in drawn.items()}
    restored = evaluator(through_autoencoder(model, drawings[UNSEEN]))
    files = [demo_lora(arguments.out, seed, arguments.steps, arguments.base) for seed in range(1, arguments.seeds + 1)]
    learned = [pictures(model, prompts, Learned(file)) for file in files]
    after = [evaluator(images) for images in learned]

    def gone(look: Callable[[Features], torch.Tensor], features: Features) -> float:
        """Raises SystemExit where the base draws the style already."""
        share = share_of_way(look(features), look(known["same prompts"]), look(restored), by_object=True)
        if share is None:
            raise SystemExit("the base's drawings cannot be told from the style's")
        return share

    measures = {
        "style": lambda features: gone(lambda each: each.style / scale, features),
        "object": lambda features: gone(lambda each: each.pooled, features),
    }
    result: dict[str, object] = {}
    for name, measure in measures.items():
        nearest = max(SETS, key=lambda style: measure(known[style]))
        scores = [measure(features) for features in after]
        result[name] = {"nearest_style": nearest} | summary(
            measure(known[nearest]), measure(known["same prompts"]), measure(restored), scores
        )
    samples = [Image.open(path) for path in sorted(SAMPLES.glob("*.png"))]
    copies = [copied for images in learned for copied in near_copies(images, samples)]
    result["near_copies"] = sum(copies) / len(copies)
    rows = [
        Row("The style itself", "unseen drawings", drawings[UNSEEN][:SHOWN]),
        Row("The base", "with the same prompts", drawn["same prompts"][:SHOWN]),
        *(Row(f"LoRA, seed {at}", "", images[:SHOWN], words[:SHOWN]) for at, images in enumerate(learned, 1)),
    ]
    draw_sheet("Objects that were not among the training pictures", rows, []).save(arguments.out / "sheet.png")
    return result


if __name__ == "__main__":
    main()
