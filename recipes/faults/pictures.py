"""The clean pictures of the set: photographs whole and in pieces, objects on white and in scenes, icons."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image, ImageFilter

from recipes.faults import HALVES, rng_of
from recipes.faults.sources import TABLE, Package
from recipes.pocket.icons import SETS, fetch, read_nouns, svg_of
from recipes.pocket.scenes import COLOURS
from recipes.subjects.styles import draw

SIDE = 1280  # pixels, the longest side of a whole photograph
OBJECT_PIXELS = 60_000  # of a stamp, that it is sharp at OBJECT
OBJECT = (380, 560)  # pixels, the longest side of an object
SCENE, SCENES = (720, 640), 2  # pixels, and pictures of an object before a background
ICONS, SMALL_ICONS = 24, 10  # of one style, and of another
ICON_SIDE = 512
INKED = 0.04  # share of a line drawing that is a line, at least
STAMP_BYTES = 25_000  # of its file; smaller ones are drawings
# In paths of stamps: drawings, what is there twice, and what is light rather than a thing.
SKIPPED = (
    "cartoon",
    "mirror",
    "flag",
    "symbols",
    "town",
    "clothes",
    "military",
    "hedgehog",
    "pizza",
    "bee",
    "hallow",
    "200b",
    "naturalforces",
    "0_sun",
    "fireworks",
)
# Pieces of photographs in which nothing is sharp: backgrounds of scenes alone.
BEHIND = ("Wood.jpg", "BytheWater 1/1", "BytheWater 2/1", "BytheWater 3/1", "BytheWater 4/1", "Autumn 1", "Autumn 2")
PORTRAITS = ("astronaut.png", "obama.jpg", "biden.jpg", "obama3.jpg")
FILTER = Image.Resampling.LANCZOS


@dataclass(frozen=True)
class Base:
    """A clean picture. kind: what it is as a case, e.g. "piece". scene: pictures of one scene have it in common.

    allowed: findings that are true of it, or may be said: it is no false accusation.
    """

    name: str
    kind: str
    scene: str
    image: Image.Image
    allowed: tuple[str, ...] = ()


# What is so of a photograph as it comes, or may be said of it.
TRUE = {
    "astronaut.png": ("text",),  # on her badges
    "page.png": ("text", "screenshot"),
    "text.png": ("text", "screenshot", "noisy"),
    "moon.png": ("blurred", "flat", "enlarged"),  # soft itself
    "hubble_deep_field.jpg": ("noisy",),
    "Aqua.jpg": ("blurred",),
    "retina.jpg": ("border", "blurred"),  # black around a disc
    "locomotion-house-cat": ("border", "text"),
    "ColdRipple": ("flat", "blurred"),
    "summer_1am": ("blurred", "flat"),
    "biden.jpg": ("long",),
    "airplane-from-above": ("noisy", "flat"),
    "march-pastoral": ("noisy", "flat"),
}


def photographs(half: str) -> Iterator[Base]:
    """The table's photographs of a half, whole or cut."""
    for package_name, entries in TABLE["photos"][half].items():
        package = Package.of(package_name)
        for entry in entries:
            name, _, cut = entry.partition(" ")
            image = _open(package, name)
            allowed = TRUE.get(name, ())
            if not cut:
                image.thumbnail((SIDE, SIDE), FILTER)
                yield Base(name, "photo", name, image, allowed)
                continue
            columns, rows = (int(each) for each in cut.split("x"))
            wide, high = image.width // columns, image.height // rows
            for column in range(columns):
                for row in range(rows):
                    corner = (column * wide, row * high)
                    piece = image.crop((*corner, corner[0] + wide, corner[1] + high))
                    whole = f"{name} {column + 1}/{row + 1}"
                    yield Base(whole, "behind" if whole.startswith(BEHIND) else "piece", name, piece, allowed)


def objects(half: str, seed: int, backgrounds: list[Base]) -> Iterator[Base]:
    """Photographed objects: on white, as in a studio, and before a background out of focus."""
    for name, stamp in stamps(half):
        rng = rng_of(seed, f"object {name}")
        yield Base(f"{name} studio", "studio", name, _studio(rng, stamp))
        for number in rng.choice(len(backgrounds), SCENES, replace=False):
            behind = backgrounds[number]
            yield Base(f"{name} before {behind.name}", "scene", name, _scene(rng, stamp, behind.image))


def stamps(half: str) -> Iterator[tuple[str, Image.Image]]:
    """Objects cut out of photographs, large enough, each in one half alone."""
    files = Package.of("tuxpaint-stamps-default").files()
    found = {}
    for path, data in sorted(files.items()):
        image = Image.open(io.BytesIO(data))
        large = image.width * image.height >= OBJECT_PIXELS and len(data) >= STAMP_BYTES
        if large and not any(word in path for word in SKIPPED):
            found[path.removesuffix(".png")] = image
    alike = sorted({_kin(path) for path in found})
    for path, image in found.items():
        if alike.index(_kin(path)) % 2 == HALVES.index(half):
            yield path, image.convert("RGBA")


def _kin(path: str) -> str:
    """Of "gnu-baby" and "gnu-stand" the same."""
    return path.rsplit("/", 1)[-1][:5].lower()


def icons(half: str, seed: int) -> Iterator[Base]:
    """Icons of one style, each on white or on a plain colour, as a style is taught; and small ones of another."""
    styles = {"tuning": ("flat", "glossy"), "report": ("minimal", "rounded")}[half]
    cases = ("icon", ICONS, (0.7, 0.9), styles[0]), ("small icon", SMALL_ICONS, (0.3, 0.5), styles[1])
    for kind, count, shares, style in cases:
        rng = rng_of(seed, f"{kind} {half}")
        package = fetch(*SETS[style])
        nouns = [str(noun) for noun in rng.permutation(sorted(read_nouns().learned))]
        drawn = [(noun, svg) for noun in nouns if (svg := svg_of(package, noun)) is not None][:count]
        for noun, svg in drawn:
            colour = "white" if rng.random() < 0.5 else str(rng.choice(sorted(COLOURS)))
            place = (rng.uniform(0.3, 0.7), rng.uniform(0.3, 0.7))
            yield Base(f"{style} {noun}", kind, noun, draw(svg, ICON_SIDE, rng.uniform(*shares), colour, place))


def line_art(photos: list[Base]) -> Iterator[Base]:
    """Drawings in lines: the edges of photographs, black on white."""
    for base in photos:
        grey = cv2.GaussianBlur(np.asarray(base.image.convert("L")), (0, 0), 1.5)
        edges = cv2.Canny(grey, 60, 160)
        if edges.mean() > INKED * 255:
            lines = 255 - cv2.dilate(edges, np.ones((2, 2), np.uint8))
            yield Base(f"{base.name} lines", "lines", f"{base.scene} lines", Image.fromarray(lines).convert("RGB"))


def _open(package: Package, name: str) -> Image.Image:
    files = package.files(name)
    if package.name == "plasma-workspace-wallpapers":
        path = f"{name}/contents/images/2560x1600.jpg"
    else:
        path = f"{name}.jpg" if package.name == "stdlib" else name
    image = Image.open(io.BytesIO(files[path])).convert("RGB")
    image.info = {}  # some say where they were taken
    return image


def _fitted(rng: np.random.Generator, stamp: Image.Image) -> Image.Image:
    scale = min(1.6, float(rng.uniform(*OBJECT)) / max(stamp.size))
    cut = stamp.resize((round(stamp.width * scale), round(stamp.height * scale)), FILTER)
    return cut.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if rng.random() < 0.3 else cut


def _studio(rng: np.random.Generator, stamp: Image.Image) -> Image.Image:
    cut = _fitted(rng, stamp)
    canvas = Image.new("RGB", (max(560, cut.width + 80), max(560, cut.height + 80)), "white")
    canvas.paste(cut, ((canvas.width - cut.width) // 2, (canvas.height - cut.height) // 2), cut)
    return canvas


def _scene(rng: np.random.Generator, stamp: Image.Image, behind: Image.Image) -> Image.Image:
    cut = _fitted(rng, stamp)
    width, height = SCENE if cut.width >= cut.height else SCENE[::-1]
    scale = max(width / behind.width, height / behind.height) * float(rng.uniform(1.0, 1.6))
    large = behind.resize((round(behind.width * scale) + 1, round(behind.height * scale) + 1), FILTER)
    left, top = int(rng.integers(large.width - width + 1)), int(rng.integers(large.height - height + 1))
    canvas = large.crop((left, top, left + width, top + height)).filter(ImageFilter.GaussianBlur(rng.uniform(4, 9)))
    x, y = int(rng.integers(width - cut.width + 1)), int((height - cut.height) * rng.uniform(0.5, 1))
    canvas.paste(cut, (x, y), cut)
    return canvas
