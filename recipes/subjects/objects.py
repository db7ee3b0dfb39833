"""Object subjects: one object that the base never saw, in all its known styles, sizes, places, turns and colours."""

import functools
import itertools

import numpy as np
from PIL import Image

from recipes.pocket.icons import SETS, credit, fetch, rasterise, svg_of
from recipes.pocket.scenes import COLOURS, PLACES, with_article
from recipes.subjects.styles import JUDGE_SIDE, TRAIN_SIDE
from recipes.subjects.table import ObjectSubject
from recipes.subjects.write import Prompt, Shot, Subject

TRAIN, JUDGE = 24, 15
SMALL, PLACED = 0.3, 0.5  # share of the training pictures that show it small, and of those in a named place
TURN = 18.0  # degrees, the deviation of a turn in training; judging pictures stand upright
FILTER = Image.Resampling.BICUBIC


def make(subject: ObjectSubject) -> tuple[Subject, list[Shot], list[Shot]]:
    """What to write of an object: its description, its training pictures, its judging pictures."""
    rng = np.random.default_rng([3, *subject.keyword.encode()])
    said = f"{subject.keyword} {subject.class_word}"
    styles = list(SETS)
    colours = ["white"] * 4 + [str(colour) for colour in rng.permutation(subject.colours)]
    train = [
        _training(rng, subject.name, said, styles[number % len(styles)], colours[number % len(colours)], number)
        for number in range(TRAIN)
    ]
    judge = [_judging(rng, subject, said, styles[number % len(styles)], number) for number in range(JUDGE)]
    credits = [credit(*package) for package in SETS.values()]
    described = Subject(
        name=subject.name,
        kind="object",
        keyword=subject.keyword,
        class_word=subject.class_word,
        said=said,
        floor=subject.class_word,
        sources=tuple(f"@iconify-json/{name} {version}" for name, version in SETS.values()),
        authors=tuple(author for author, _ in credits),
        licences=tuple(licence for _, licence in credits),
        prompts=_prompts(said, subject),
    )
    return described, train, judge


def _training(rng: np.random.Generator, noun: str, said: str, style: str, colour: str, number: int) -> Shot:
    share, size, place = rng.uniform(0.7, 0.92), "", ""
    anchor = (rng.uniform(0.2, 0.8), rng.uniform(0.2, 0.8))
    if rng.random() < SMALL:
        share, size = rng.uniform(0.38, 0.52), "small "
        place = str(rng.choice(list(PLACES))) if rng.random() < PLACED else ""
        anchor = PLACES.get(place, anchor)
    image = draw(noun, style, TRAIN_SIDE, share, colour, anchor, float(rng.normal() * TURN), bool(rng.random() < 0.5))
    subject = with_article(f"{size}{said}") + (f" {place}" if place else "")
    return Shot(f"{number + 1:02}-{style}", image, f"{subject}, {style} style, on {with_article(colour)} background")


def _judging(rng: np.random.Generator, subject: ObjectSubject, said: str, style: str, number: int) -> Shot:
    colour = "white" if number < len(SETS) else str(rng.choice(subject.colours))
    share = rng.uniform(0.76, 0.9)
    image = draw(subject.name, style, JUDGE_SIDE, share, colour, (0.5, 0.5), 0, number >= 2 * len(SETS))
    text = f"{with_article(said)}, {style} style, on {with_article(colour)} background"
    return Shot(f"{number + 1:02}-{style}", image, text)


def draw(
    noun: str,
    style: str,
    side: int,
    share: float,
    colour: str,
    anchor: tuple[float, float],
    turn: float,
    mirrored: bool,
) -> Image.Image:
    """The object on a plain background: its side as a share of the picture's, its place, and a turn in degrees."""
    svg = svg_of(_package(style), noun)
    assert svg is not None
    icon = Image.fromarray(rasterise(svg, round(side * share)))
    if mirrored:
        icon = icon.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    icon = icon.rotate(turn, FILTER, expand=True)
    icon = icon.crop(icon.getchannel("A").getbbox())
    if max(icon.size) > side * 0.97:
        icon.thumbnail((round(side * 0.97),) * 2, Image.Resampling.LANCZOS)
    canvas = Image.new("RGB", (side, side), COLOURS[colour])
    canvas.paste(icon, (round(anchor[0] * (side - icon.width)), round(anchor[1] * (side - icon.height))), icon)
    return canvas


def _prompts(said: str, subject: ObjectSubject) -> tuple[Prompt, ...]:
    """The object on each of its colours, in all the known styles by turns."""
    styles = itertools.cycle(SETS)
    return tuple(
        Prompt(
            f"{with_article(said)}, {style} style, on {with_article(colour)} background", subject.name, style, colour
        )
        for style, colour in zip(styles, subject.colours, strict=False)
    )


@functools.cache
def _package(style: str) -> dict:
    return fetch(*SETS[style])
