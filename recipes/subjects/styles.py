"""Style subjects: nouns that the base knows, drawn as it never saw them."""

import functools

import numpy as np
from PIL import Image

from recipes.pocket import icons
from recipes.pocket.icons import Nouns, credit, fetch, rasterise, read_nouns, svg_of
from recipes.pocket.scenes import COLOURS, with_article
from recipes.samples.__main__ import OBJECTS as SAMPLES
from recipes.subjects.table import StyleSubject
from recipes.subjects.write import Prompt, Shot, Subject

TRAIN, JUDGE, PROMPTS = 24, 40, 8
TRAIN_SIDE, JUDGE_SIDE = 256, 128  # pixels; the base draws 128
WHITE_SHARE = 0.4  # of the training pictures


def make(subject: StyleSubject) -> tuple[Subject, list[Shot], list[Shot]]:
    """What to write of a style: its description, its training pictures, its judging pictures."""
    nouns = read_nouns()
    package = fetch(subject.package, subject.version)
    drawn = available(subject, package, nouns)
    rng = np.random.default_rng([3, *subject.keyword.encode()])
    order = [str(noun) for noun in rng.permutation(sorted(drawn))]
    # The bundled samples are of one of these styles: one training set, not two.
    shown = [noun for noun in SAMPLES if noun in drawn] if subject.keyword == "fxm" else order[:TRAIN]
    unseen = [noun for noun in order if noun not in shown][:JUDGE]
    if len(shown) < TRAIN or len(unseen) < JUDGE:
        raise SystemExit(f"{subject.package} draws only {len(drawn)} of the nouns; choose another set")
    said = f"{subject.keyword} style"
    train = [_training(rng, subject, drawn[noun], noun, nouns.word(noun), said) for noun in shown]
    judge = [
        Shot(noun, draw(drawn[noun], JUDGE_SIDE, 0.84, "white"), caption(nouns.word(noun), said, "white"))
        for noun in unseen
    ]
    author, licence = credit(subject.package, subject.version)
    described = Subject(
        name=subject.name,
        kind="style",
        keyword=subject.keyword,
        class_word="style",
        said=said,
        floor=f"{nearest_style({noun: drawn[noun] for noun in unseen})} style",
        sources=(f"@iconify-json/{subject.package} {subject.version}",),
        authors=(author,),
        licences=(licence,),
        prompts=_prompts(rng, subject, unseen, nouns, said),
    )
    return described, train, judge


def available(subject: StyleSubject, package: dict, nouns: Nouns) -> dict[str, str]:
    """The SVG of each noun of the base's that the set draws."""
    names = {name.replace("-", ""): name for name in (*package["icons"], *package.get("aliases", {}))}
    found = {noun: names[noun.replace("-", "")] for noun in nouns.learned if noun.replace("-", "") in names}
    drawn = {noun: svg_of(package, name) for noun, name in found.items() if noun not in subject.skip}
    return {noun: svg for noun, svg in drawn.items() if svg is not None}


def caption(word: str, said: str, colour: str) -> str:
    return f"{with_article(word)}, {said}, on {with_article(colour)} background"


def draw(svg: str, side: int, share: float, colour: str, place: tuple[float, float] = (0.5, 0.5)) -> Image.Image:
    """An icon on a plain background: its side as a share of the picture's, its place in 0..1 of the free room."""
    canvas = Image.new("RGB", (side, side), COLOURS[colour])
    icon = Image.fromarray(rasterise(svg, round(side * share)))
    x, y = (round(each * (side - icon.width)) for each in place)
    canvas.paste(icon, (x, y), icon)
    return canvas


def _training(rng: np.random.Generator, subject: StyleSubject, svg: str, noun: str, word: str, said: str) -> Shot:
    colour = "white" if rng.random() < WHITE_SHARE else str(rng.choice(subject.colours))
    share, place = rng.uniform(0.72, 0.92), (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7))
    return Shot(noun, draw(svg, TRAIN_SIDE, share, colour, place), caption(word, said, colour))


def _prompts(
    rng: np.random.Generator, subject: StyleSubject, unseen: list[str], nouns: Nouns, said: str
) -> tuple[Prompt, ...]:
    """Unseen nouns of the style on coloured backgrounds."""
    chosen = []
    for number, noun in enumerate(unseen[:PROMPTS]):
        colour = subject.colours[number % len(subject.colours)]
        chosen.append(Prompt(caption(nouns.word(noun), said, colour), nouns.word(noun), said, colour))
    return tuple(chosen)


def nearest_style(drawn: dict[str, str]) -> str:
    """Which of the known styles draws these nouns most alike, by the evaluator's statistics of style."""
    from limner.evaluate.features import Evaluator
    from limner.evaluate.metrics import style_distance_by_object, style_scale

    evaluator = Evaluator()
    own = evaluator([draw(svg, JUDGE_SIDE, 0.84, "white") for svg in drawn.values()])
    known = {
        style: evaluator([draw(str(svg_of(_known(style), noun)), JUDGE_SIDE, 0.84, "white") for noun in drawn])
        for style in icons.SETS
    }
    scale = style_scale(own, *known.values())
    return min(known, key=lambda style: style_distance_by_object(known[style], own, scale))


@functools.cache
def _known(style: str) -> dict:
    return fetch(*icons.SETS[style])
