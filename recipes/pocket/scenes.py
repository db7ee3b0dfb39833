"""Compose icons into captioned scenes whose captions can be checked from pixels: object, style, colour, size, place."""

from dataclasses import dataclass

import numpy as np
from PIL import Image

from limner.vision.colours import COLOURS
from recipes.pocket import SIZE, effects
from recipes.pocket.icons import Nouns
from recipes.pocket.styles import STYLES, Style, style_of

JITTER = 10  # deviation of a background from its named colour, in 0..255
LIGHT_INK = 244  # of what is drawn in ink, on black
WHITE, TWO = 0.3, 0.06  # shares of scenes on white, beside those that draw white by chance, and of two objects
STYLE_UNSAID = 0.06  # share of captions
PLACES = {
    "on the left": (0.0, 0.5),
    "on the right": (1.0, 0.5),
    "at the top": (0.5, 0.0),
    "at the bottom": (0.5, 1.0),
}
TEMPLATES = (
    "{subject}, {style} style, on {background}",
    "{subject} in {style} style on {background}",
    "{style} style picture of {subject}, {background}",
    "{style} style, {subject} on {background}",
    "{subject} on {background}, {style} style",
)


@dataclass(frozen=True)
class Placed:
    """One icon of a scene: its noun, its side in pixels, and its upper left corner (x, y)."""

    noun: str
    side: int
    corner: tuple[int, int]
    mirrored: bool = False

    @property
    def middle(self) -> tuple[float, float]:
        return self.corner[0] + self.side / 2, self.corner[1] + self.side / 2


@dataclass(frozen=True)
class Scene:
    """What a composed picture shows, and what its caption says."""

    style: str
    colour: str
    background: tuple[int, int, int]
    objects: tuple[Placed, ...]
    caption: str


def with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def caption_of(rng: np.random.Generator, subject: str, style: str, colour: str) -> str:
    """A caption; now and then the style goes unsaid, and often a white background does."""
    said = rng.random() < (0.5 if colour == "white" else 0.92)
    template = str(rng.choice(TEMPLATES))
    if not said:
        template = template.split(" on {background}")[0].split(", {background}")[0].rstrip(",")
        template = template if "{style}" in template else template + ", {style} style"
    if rng.random() < STYLE_UNSAID:
        template = "{subject} on {background}" if said else "{subject}"
    return template.format(
        subject=subject, style=style, background=f"a {colour} background".replace("a orange", "an orange")
    )


def place(rng: np.random.Generator, side: int, anchor: tuple[float, float]) -> tuple[int, int]:
    """The corner of an icon of that side, near an anchor in 0..1 of the free room."""
    room = SIZE - side
    x, y = (int(np.clip(a * room + rng.normal() * 0.06 * room, 0, room)) for a in anchor)
    return x, y


def compose_one(rng: np.random.Generator, nouns: Nouns) -> tuple[str, tuple[Placed, ...]]:
    """One object: mostly filling the picture, sometimes small and in a named place."""
    noun = str(rng.choice(nouns.nouns))
    mirrored = bool(rng.random() < 0.15)
    kind = rng.random()
    if kind < 0.72:
        side = int(rng.integers(92, 117))
        return with_article(nouns.word(noun)), (Placed(noun, side, place(rng, side, (0.5, 0.5)), mirrored),)
    if kind < 0.8:
        return with_article(f"large {nouns.word(noun)}"), (Placed(noun, 126, (1, 1), mirrored),)
    side = int(rng.integers(46, 66))
    where = str(rng.choice(["", *PLACES])) if kind < 0.93 else ""
    subject = with_article(f"small {nouns.word(noun)}") + (f" {where}" if where else "")
    return subject, (Placed(noun, side, place(rng, side, PLACES.get(where, (0.5, 0.5))), mirrored),)


def compose_two(rng: np.random.Generator, nouns: Nouns) -> tuple[str, tuple[Placed, ...]]:
    """Two objects side by side, the first named one on the left."""
    left, right = (str(n) for n in rng.choice(nouns.nouns, size=2, replace=False))
    side = int(rng.integers(54, 63))
    joint = str(rng.choice(["and", "next to", "to the left of"]))
    subject = f"{with_article(nouns.word(left))} {joint} {with_article(nouns.word(right))}"
    return subject, (
        Placed(left, side, (int(rng.integers(0, 5)), int(rng.integers(25, 45)))),
        Placed(right, side, (SIZE - side - int(rng.integers(0, 5)), int(rng.integers(25, 45)))),
    )


def draw_scene(seed: int, index: int, nouns: Nouns) -> Scene:
    """The scene of that number: a pure function of seed and index."""
    rng = np.random.default_rng([seed, index])
    style = str(rng.choice(list(STYLES)))
    colour = "white" if rng.random() < WHITE else str(rng.choice(list(COLOURS)))
    subject, objects = compose_two(rng, nouns) if rng.random() < TWO else compose_one(rng, nouns)
    jitter = rng.normal(size=3) * (0 if colour == "white" else JITTER)
    red, green, blue = (int(v) for v in np.clip(np.array(COLOURS[colour]) + jitter, 0, 255))
    caption = caption_of(rng, subject, style, colour)
    return Scene(style, colour, (red, green, blue), objects, caption)


def render_scene(scene: Scene, icons: dict[str, np.ndarray]) -> np.ndarray:
    """Pixels of a scene, uint8 (128, 128, 3)."""
    style = style_of(scene.style)
    canvas = Image.new("RGB", (SIZE, SIZE), scene.background)
    for placed in scene.objects:
        icon, corner = drawn(style, icons[f"{scene.style}/{placed.noun}"], placed, scene.colour)
        canvas.paste(icon, corner, icon)
    pixels = np.asarray(canvas)
    if style.finish is None:
        return pixels
    rng = np.random.default_rng([*scene.background, *scene.objects[0].corner])
    return np.round(style.finish(pixels / 255, rng) * 255).astype(np.uint8)


def drawn(style: Style, pixels: np.ndarray, placed: Placed, colour: str) -> tuple[Image.Image, tuple[int, int]]:
    """The icon as the scene shows it, and its corner."""
    if style.ink and colour == "black":
        pixels = np.concatenate([np.full_like(pixels[..., :3], LIGHT_INK), pixels[..., 3:]], axis=2)
    if placed.mirrored:
        pixels = pixels[:, ::-1]
    if style.cell:
        cells = effects.pixelated(pixels.astype(np.float32) / 255, placed.side, style.cell)
        x, y = (round(at / style.cell) * style.cell for at in placed.corner)
        return Image.fromarray(np.round(cells * 255).astype(np.uint8)), (x, y)
    icon = Image.fromarray(pixels).convert("RGBa")
    return icon.resize((placed.side, placed.side), Image.Resampling.LANCZOS).convert("RGBA"), placed.corner
