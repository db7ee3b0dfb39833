"""Photographs and drawings to learn from, each in the forms in which people have them."""

import io
from collections.abc import Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from limner.data.colour import to_srgb
from limner.data.decode import decode
from limner.vision.colours import COLOURS
from recipes.faults.sources import Package
from recipes.pocket.icons import fetch, rasterise, svg_of

PHOTOGRAPHS = ("scikit-image", "scikit-learn", "face_recognition", "mate-backgrounds")
# Of scikit-image's, what no camera made or no lens saw.
NOT_PHOTOGRAPHS = ("logo", "color", "text", "page", "horse", "cell", "ihc", "retina", "clock", "moon", "multipage")
SETS = {
    "fluent-emoji": "1.2.7",
    "fluent-emoji-flat": "1.2.6",
    "noto": "1.2.9",
    "twemoji": "1.2.5",
    "emojione": "1.2.3",
    "fxemoji": "1.2.2",
}
ICONS = 60  # of each set
SIDE = 512

Named = tuple[str, str, Image.Image]  # what must not be both learned from and judged by, the form, the picture


def photographs() -> Iterator[Named]:
    for name in PHOTOGRAPHS:
        for path, data in Package.of(name).files().items():
            if not path.startswith(NOT_PHOTOGRAPHS):
                image = square(to_srgb(decode(data)))
                yield from ((f"{name}/{path}", form, each) for form, each in photograph_forms(image))
    for number in range(8):
        image = synthetic(np.random.default_rng(number))
        yield from ((f"synthetic/{number}", form, each) for form, each in photograph_forms(image))


def drawings() -> Iterator[Named]:
    rng = np.random.default_rng(0)
    colours = list(COLOURS.values())
    for name, version in SETS.items():
        package = fetch(name, version)
        for icon in rng.permutation(sorted(package["icons"]))[:ICONS]:
            svg = svg_of(package, str(icon))
            assert svg is not None
            drawn = Image.fromarray(rasterise(svg, SIDE))
            ground = tuple(int(each) for each in colours[rng.integers(len(colours))])
            yield from ((name, form, each) for form, each in drawing_forms(drawn, ground, rng))
    for number in range(60):
        yield "shapes", "as it is", shapes(np.random.default_rng(number))


def photograph_forms(image: Image.Image) -> Iterator[tuple[str, Image.Image]]:
    """As they come from a camera, a chat, an archive or a shop; a square comes in."""
    whole = image.resize((SIDE, SIDE), Image.Resampling.LANCZOS)
    yield "as it is", whole
    yield "128 pixels", image.resize((128, 128), Image.Resampling.LANCZOS)
    yield "quality 20", as_jpeg(whole, 20)
    yield "grey", whole.convert("L").convert("RGB")
    yield "dark", whole.point(lambda level: level // 4)
    yield "blurred", whole.filter(ImageFilter.GaussianBlur(4))
    yield "64 colours", whole.quantize(64).convert("RGB")
    for form, box in (("cut out", (100, 80, 410, 430)), ("cut out, small", (170, 150, 340, 360))):
        shape = Image.new("L", whole.size)
        ImageDraw.Draw(shape).ellipse(box, fill=255)
        yield form, Image.composite(whole, Image.new("RGB", whole.size, "white"), shape)
        behind = whole.filter(ImageFilter.GaussianBlur(30))
        yield f"{form}, out of focus behind", Image.composite(whole, behind, shape.filter(ImageFilter.GaussianBlur(3)))


def drawing_forms(
    drawn: Image.Image, ground: tuple[int, ...], rng: np.random.Generator
) -> Iterator[tuple[str, Image.Image]]:
    """As they are, and in other manners; an RGBA icon of SIDE comes in."""
    plain = Image.new("RGB", drawn.size, ground)
    plain.paste(drawn, mask=drawn.getchannel("A"))
    yield "as it is", plain
    yield "128 pixels", plain.resize((128, 128), Image.Resampling.LANCZOS)
    yield "quality", as_jpeg(plain, int(rng.integers(30, 95)))
    yield "pixels", plain.resize((32, 32), Image.Resampling.BOX).resize(plain.size, Image.Resampling.NEAREST)
    levels = np.asarray(plain)
    edges = cv2.dilate(cv2.Canny(levels, 60, 120), np.ones((7, 7), np.uint8))
    yield "outlined", Image.fromarray(np.where(edges[..., None] > 0, 20, levels).astype(np.uint8))
    yield "lines", Image.fromarray(255 - edges).convert("RGB")
    grain = cv2.GaussianBlur(rng.normal(size=levels.shape[:2]).astype(np.float32), None, 2)
    chalk = levels + (25 * grain / grain.std())[..., None]
    yield "grainy", Image.fromarray(np.clip(chalk, 0, 255).astype(np.uint8))
    yield "wash", washed(plain, rng)
    yield "panes", panes(plain, rng)


def washed(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Pale and uneven, as water colours."""
    levels = np.asarray(image.filter(ImageFilter.GaussianBlur(3)), np.float32)
    spots = cv2.GaussianBlur(rng.normal(size=levels.shape[:2]).astype(np.float32), None, 18)
    pale = 255 - (255 - levels) * (0.6 + 0.15 * spots / spots.std())[..., None]
    return Image.fromarray(np.clip(pale, 0, 255).astype(np.uint8))


def panes(image: Image.Image, rng: np.random.Generator, count: int = 160) -> Image.Image:
    """Panes of unequal tone with dark lines between them."""
    centres = rng.uniform(0, SIDE, (count, 2)).astype(np.float32)
    at = np.stack([*np.mgrid[:SIDE:4, :SIDE:4]], axis=-1).reshape(-1, 1, 2).astype(np.float32)
    nearest = np.square(at - centres).sum(axis=2).argmin(axis=1).reshape(SIDE // 4, SIDE // 4)
    nearest = cv2.resize(nearest.astype(np.int16), (SIDE, SIDE), interpolation=cv2.INTER_NEAREST)
    lead = cv2.morphologyEx(nearest, cv2.MORPH_GRADIENT, np.ones((5, 5), np.uint8)) > 0
    toned = np.asarray(image, np.float32) * rng.uniform(0.75, 1.15, count)[nearest][..., None]
    return Image.fromarray(np.where(lead[..., None], 25, np.clip(toned, 0, 255)).astype(np.uint8))


def shapes(rng: np.random.Generator) -> Image.Image:
    """A few plain shapes, or one plain colour."""
    colour = lambda: tuple(int(level) for level in rng.integers(0, 256, 3))  # noqa: E731 (of this place alone)
    image = Image.new("RGB", (SIDE, SIDE), colour())
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 6)):
        left, top = (int(each) for each in rng.integers(0, SIDE - 40, 2))
        box = (left, top, left + int(rng.integers(30, 300)), top + int(rng.integers(30, 300)))
        (draw.ellipse if rng.random() < 0.5 else draw.rectangle)(box, fill=colour())
    return image


def synthetic(rng: np.random.Generator) -> Image.Image:
    """What has a photograph's statistics and shows nothing: faces of things, and texture at every scale."""
    canvas = Image.new("RGB", (2 * SIDE, 2 * SIDE), (118, 130, 140))
    draw = ImageDraw.Draw(canvas)
    for _ in range(rng.integers(0, 24)):
        middle, reach = rng.uniform(0, 2 * SIDE, 2), rng.uniform(100, 500)
        corners = [tuple(middle + reach * rng.uniform(0.3, 1) * _towards(a)) for a in np.sort(rng.uniform(0, 6.28, 7))]
        draw.polygon(corners, fill=tuple(int(level) for level in rng.integers(25, 225, 3)))
    levels = np.asarray(canvas.resize((SIDE, SIDE), Image.Resampling.BOX), np.float32)
    frequency = np.hypot(np.fft.fftfreq(SIDE)[:, None], np.fft.rfftfreq(SIDE)[None])
    frequency[0, 0] = np.inf
    waves = rng.normal(size=(3, *frequency.shape)) + 1j * rng.normal(size=(3, *frequency.shape))
    texture = np.fft.irfft2(waves / frequency, s=(SIDE, SIDE)).transpose(1, 2, 0)
    noise = rng.normal(scale=rng.uniform(0, 8), size=levels.shape)
    return Image.fromarray(
        np.clip(levels + rng.uniform(8, 40) * texture / texture.std() + noise, 4, 250).astype(np.uint8)
    )


def _towards(angle: float) -> NDArray[np.float64]:
    return np.array([np.cos(angle), np.sin(angle)])


def square(image: Image.Image) -> Image.Image:
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def as_jpeg(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream).convert("RGB")
