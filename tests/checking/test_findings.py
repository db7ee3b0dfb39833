"""What is said of one picture: each fault where it is, and not where it is not."""

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from photos import photo
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageFont, ImageOps

from limner.checking.facts import Facts
from limner.checking.findings import KINDS, Subject, Wanted, findings
from limner.checking.measure import Measure
from limner.data.buckets import buckets
from limner.data.source import Source
from limner.preparation.framing import frame
from limner.vision.region import Region

CLEAN = Facts("a.jpg", kind="JPEG", width=800, height=600, sharpness=1, brightness=0.5, contrast=0.2, range=(0.1, 0.9))


def kinds(facts: Facts, resolution: int = 512, subject: Subject = "object") -> list[str]:
    said = findings(facts, Wanted(resolution, subject))
    return [each.kind if KINDS[each.kind].level == each.level else f"{each.kind}?" for each in said]


def kinds_of(folder: Path, image: Image.Image, suffix: str = "png", resolution: int = 512, **options: Any) -> list[str]:
    image.save(folder / f"a.{suffix}", **options)
    return kinds(Measure(features=False)(Source(folder, f"a.{suffix}")).facts, resolution)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp"])
def test_a_good_picture_is_not_accused(tmp_path: Path, seed: int, suffix: str) -> None:
    options = {"quality": 88} if suffix != "png" else {}
    assert kinds_of(tmp_path, photo(800, 600, seed), suffix, **options) == []


def shaken(image: Image.Image) -> Image.Image:
    kernel = ImageFilter.Kernel((5, 5), [0] * 10 + [1] * 5 + [0] * 10)
    for _ in range(6):
        image = image.filter(kernel)
    return ImageOps.crop(image, 2)  # Pillow leaves the outermost pixels as they are


def before_blurred_ground(image: Image.Image) -> Image.Image:
    ground = image.filter(ImageFilter.GaussianBlur(9))
    ground.paste(image.crop((250, 150, 550, 450)), (250, 150))
    return ground


def saved(image: Image.Image, quality: int) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=quality)
    return Image.open(stream)


def scaled(image: Image.Image, by: float, filter: Image.Resampling = Image.Resampling.BICUBIC) -> Image.Image:
    return image.resize((round(image.width * by), round(image.height * by)), filter)


def noisy(image: Image.Image, deviation: float) -> Image.Image:
    noise = np.random.default_rng(0).normal(0, deviation, (image.height, image.width, 3))
    return Image.fromarray(np.clip(np.asarray(image) + noise, 0, 255).astype(np.uint8))


def lettered(image: Image.Image, words: str, size: int, opacity: int = 255) -> Image.Image:
    layer = Image.new("RGBA", image.size)
    font = ImageFont.load_default(size)
    ink, outline = (255, 255, 255, opacity), (0, 0, 0, opacity)
    ImageDraw.Draw(layer).text((30, 50), words, ink, font, stroke_width=2, stroke_fill=outline)
    return Image.alpha_composite(image.convert("RGBA"), layer).convert("RGB")


def on_white(image: Image.Image, side: int = 700) -> Image.Image:
    canvas = Image.new("RGB", (side, side), "white")
    cut = Image.new("L", (400, 300))
    ImageDraw.Draw(cut).ellipse((0, 0, 399, 299), fill=255)
    canvas.paste(image.resize((400, 300)), (150, 200), cut)
    return canvas


FAULTS: dict[str, tuple[list[str], Callable[[Image.Image], Image.Image]]] = {
    "out of focus": (["blurred"], lambda image: image.filter(ImageFilter.GaussianBlur(4))),
    "shaken": (["blurred"], shaken),
    "a sharp thing before what is not": ([], before_blurred_ground),
    "a little soft": ([], lambda image: image.filter(ImageFilter.GaussianBlur(0.6))),
    "enlarged by 2.6": (["enlarged"], lambda image: scaled(scaled(image, 1 / 2.6, Image.Resampling.BOX), 2.6)),
    "enlarged, but large enough": ([], lambda image: scaled(image, 1.7)),
    "made smaller": ([], lambda image: scaled(photo(1600, 1200), 0.55, Image.Resampling.LANCZOS)),
    "underexposed": (["dark"], lambda image: ImageEnhance.Brightness(image).enhance(0.09)),
    "darkish": ([], lambda image: ImageEnhance.Brightness(image).enhance(0.5)),
    "overexposed": (["bright"], lambda image: image.point(lambda level: min(255, level * 2 + 120))),
    "on white": ([], on_white),
    "on black": ([], lambda image: Image.composite(image, Image.new("RGB", image.size), Image.radial_gradient("L").
                 point(lambda level: 255 * (level < 120)).resize(image.size))),
    "in fog": (["flat"], lambda image: image.point(lambda level: 150 + level // 12)),
    "one colour": (["blank"], lambda image: Image.new("RGB", image.size, "teal")),
    "saved badly before": (["compressed"], lambda image: saved(image, 8)),
    "saved well before": ([], lambda image: saved(image, 85)),
    "saved badly before, then cropped": (["compressed"], lambda image: saved(image, 8).crop((3, 5, 780, 590))),
    "grainy": (["noisy"], lambda image: noisy(image, 20)),
    "letterboxed": (["border"], lambda image: ImageOps.expand(image, (0, 90), "black")),
    "framed": (["border"], lambda image: ImageOps.expand(image, 40, "#d8c9a3")),
    "a bar at one side": ([], lambda image: ImageOps.expand(image, (0, 90, 0, 0), "black")),
    "words": (["text"], lambda image: lettered(image, "WHEN IT IS MONDAY", 48)),
    "small words": (["text"], lambda image: lettered(image, "seen by someone in 2024", 20)),
    "a watermark": (["text"], lambda image: lettered(image, "SAMPLE stock.example", 44, 150)),
    "very wide": (["long"], lambda image: photo(1600, 600)),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_faults(tmp_path: Path, name: str) -> None:
    expected, make = FAULTS[name]
    assert kinds_of(tmp_path, make(photo(800, 600, 1))) == expected


@pytest.mark.parametrize("name", ["shaken", "enlarged by 2.6", "letterboxed", "words", "overexposed"])
def test_faults_are_found_in_jpegs(tmp_path: Path, name: str) -> None:
    expected, make = FAULTS[name]
    assert kinds_of(tmp_path, make(photo(800, 600, 1)), "jpg", quality=85) == expected


def test_by_how_much_it_was_enlarged(tmp_path: Path) -> None:
    for number, by in enumerate((1.7, 2.3, 3.5)):
        path = tmp_path / f"{number}.jpg"
        scaled(photo(300, 250, number), by).save(path, quality=92)
        facts = Measure(features=False)(Source(tmp_path, path.name)).facts
        assert facts.enlarged == pytest.approx(by, rel=0.05)
        (said,) = (each.sentence for each in findings(facts, Wanted(1024)) if each.kind == "enlarged")
        assert f"been enlarged about {by} times, from 300x250 pixels" in said
        assert said.startswith("has" if by > 3 else "may have")


@pytest.mark.parametrize("by", [0.6, 0.77, 0.91])
def test_what_was_made_smaller_is_not_left_out_as_enlarged(tmp_path: Path, by: float) -> None:
    """Both leave the same trace of interpolation."""
    soft = scaled(photo(900, 750, 2).filter(ImageFilter.GaussianBlur(0.9)), by, Image.Resampling.BICUBIC)
    soft.save(tmp_path / "a.png")
    facts = Measure(features=False)(Source(tmp_path, "a.png")).facts
    assert all(each.level == "note" for each in findings(facts, Wanted(512)))


UNSURE: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "enlarged": ("enlarged", {"enlarged": 2.5, "sharpness": 0.6}, {"enlarged": 2.5, "sharpness": 0.7}),
    "blurred": ("blurred", {"sharpness": 0.4}, {"sharpness": 0.5}),
    "dark": ("dark", {"brightness": 0.1, "range": (0.0, 0.15)}, {"brightness": 0.2, "range": (0.0, 0.3)}),
    "bright": (
        "bright",
        {"brightness": 0.9, "burnt": 0.3, "range": (0.7, 1.0)},
        {"brightness": 0.9, "burnt": 0.3, "range": (0.5, 1.0)},
    ),
    "compressed": ("compressed", {"blocks": 1.3}, {"blocks": 1.0}),
}


@pytest.mark.parametrize("name", UNSURE)
def test_what_a_good_picture_may_show_too_leaves_none_out(name: str) -> None:
    kind, sure, unsure = UNSURE[name]
    assert kinds(replace(CLEAN, **sure)) == [kind]
    assert kinds(replace(CLEAN, **unsure)) == [f"{kind}?"]


def test_size_is_judged_by_the_resolution() -> None:
    assert kinds(CLEAN, 512) == kinds(CLEAN, 600) == []
    assert kinds(CLEAN, 768) == kinds(CLEAN, 1024) == ["small"]
    assert kinds(CLEAN, 1280) == ["too_small"]
    assert kinds(replace(CLEAN, width=400, height=300, border=(0, 0.1, 0, 0.1)), 512) == ["too_small", "border"]


@pytest.mark.parametrize("size", [(600, 400), (512, 342), (341, 341), (342, 342), (400, 300), (300, 900), (1000, 120)])
@pytest.mark.parametrize("resolution", [256, 512, 768])
def test_what_is_too_small_is_so_for_prepare_too(size: tuple[int, int], resolution: int) -> None:
    facts = replace(CLEAN, width=size[0], height=size[1])
    needed = frame(facts, buckets(resolution)).enlargement
    assert ("too_small" in kinds(facts, resolution)) == (needed > 1.5)
    assert ("too_small" in kinds(facts, resolution) or "small" in kinds(facts, resolution)) == (needed > 1)


def test_blur_is_judged_by_the_resolution() -> None:
    blurred = replace(CLEAN, sharpness=0.4)
    assert kinds(blurred, 128) == kinds(blurred, 256) == []
    assert kinds(blurred, 512) == ["blurred"]


def test_the_gravest_come_first() -> None:
    facts = replace(CLEAN, location=True, orientation=6, quality=10, noise=20)
    assert kinds(facts) == ["compressed", "noisy", "orientation", "location"]


def test_faces() -> None:
    large, small = Region(0.1, 0.1, 0.4, 0.5), Region(0.6, 0.1, 0.8, 0.4)
    far = Region(0.9, 0.1, 0.95, 0.16)
    assert kinds(replace(CLEAN, faces=(large, small)), subject="person") == ["several_faces"]
    assert kinds(replace(CLEAN, faces=(large, far)), subject="person") == []
    assert kinds(CLEAN, subject="person") == ["no_face"]
    assert kinds(replace(CLEAN, faces=(large, small)), subject="object") == []


def test_problems_are_all_there_is_to_say() -> None:
    assert kinds(Facts("a", problem="is truncated; copy it again")) == ["truncated"]
    assert kinds(Facts("a", problem="is empty")) == ["unreadable"]
    (said,) = findings(Facts("a", problem="is empty"), Wanted())
    assert (said.level, said.sentence) == ("unusable", "is empty")


def test_what_prepare_mends_is_a_note() -> None:
    facts = replace(CLEAN, frames=3, transparent=0.4, wide=True, profile="Display P3", bits=16, mode="CMYK")
    said = findings(facts, Wanted())
    assert {each.kind for each in said} == {"frames", "transparent", "wide", "deep", "cmyk"}
    assert {each.level for each in said} == {"note"}
    assert "holds colours that sRGB has not (Display P3)" in [each.sentence for each in said]
