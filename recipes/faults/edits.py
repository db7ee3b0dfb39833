"""Edits that make a near-duplicate: each takes a picture and a source of chance, and gives the file's bytes."""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, ImageOps

FILTER = Image.Resampling.BICUBIC

Made = tuple[str, bytes]  # ending of its name, and bytes
Edit = Callable[[Image.Image, np.random.Generator], Made]


def encode(image: Image.Image, ending: str = ".jpg", **options: object) -> Made:
    """A file of a picture: JPEG of quality 92 if nothing else is said."""
    form = {".jpg": "JPEG", ".png": "PNG", ".webp": "WEBP", ".tif": "TIFF", ".gif": "GIF", ".bmp": "BMP"}[ending]
    stream = io.BytesIO()
    image.save(stream, form, **({"quality": 92} if form == "JPEG" else {}) | options)
    return ending, stream.getvalue()


def resized(image: Image.Image, rng: np.random.Generator) -> Made:
    scale = rng.uniform(0.6, 0.85)
    return encode(image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS))


def recompressed(image: Image.Image, rng: np.random.Generator) -> Made:
    return encode(image, quality=40)


def cropped(image: Image.Image, rng: np.random.Generator) -> Made:
    """A tenth of each side is gone, from the one end or the other."""
    wide, high = round(image.width * 0.9), round(image.height * 0.9)
    left, top = (int(rng.integers(room + 1)) for room in (image.width - wide, image.height - high))
    return encode(image.crop((left, top, left + wide, top + high)))


def mirrored(image: Image.Image, rng: np.random.Generator) -> Made:
    return encode(ImageOps.mirror(image))


def recoloured(image: Image.Image, rng: np.random.Generator) -> Made:
    """Brighter or darker by a quarter, more or less saturated, warmer or colder."""
    image = ImageEnhance.Brightness(image).enhance(float(rng.choice([0.75, 1.25])))
    image = ImageEnhance.Color(image).enhance(float(rng.choice([0.5, 1.4])))
    warm = float(rng.choice([0.9, 1.1]))
    bands = [
        band.point(lambda v, by=by: min(255, v * by))
        for band, by in zip(image.split(), (warm, 1, 1 / warm), strict=True)
    ]
    return encode(Image.merge("RGB", bands))


def bordered(image: Image.Image, rng: np.random.Generator) -> Made:
    """A frame of 5 to 8 in a hundred."""
    width = round(max(image.size) * rng.uniform(0.05, 0.08))
    return encode(ImageOps.expand(image, width, str(rng.choice(["white", "black"]))))


def written_on(image: Image.Image, rng: np.random.Generator) -> Made:
    """A line of words across it."""
    image = image.copy()
    write(image, "holiday 2024", (0.08, float(rng.uniform(0.6, 0.8))), 0.11, "white", "black")
    return encode(image)


def exact(image: Image.Image, rng: np.random.Generator) -> Made:
    """The same file; write.py gives it the original's bytes."""
    return encode(image)


def reformatted(image: Image.Image, rng: np.random.Generator) -> Made:
    """The same pixels without loss in another format."""
    return encode(image, str(rng.choice([".png", ".tif", ".bmp"])))


def quarter_turned(image: Image.Image, rng: np.random.Generator) -> Made:
    return encode(image.transpose(rng.choice([Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_270])))


def tilted(image: Image.Image, rng: np.random.Generator) -> Made:
    """Turned by 3 degrees, and cropped to what is inside."""
    turned = image.rotate(float(rng.choice([-3, 3])), FILTER)
    cut = round(max(image.size) * 0.03) + 2
    return encode(turned.crop((cut, cut, image.width - cut, image.height - cut)))


EDITS: dict[str, Edit] = {
    "resized": resized,
    "recompressed": recompressed,
    "cropped": cropped,
    "mirrored": mirrored,
    "recoloured": recoloured,
    "bordered": bordered,
    "written on": written_on,
    "exact": exact,
    "reformatted": reformatted,
    "quarter turned": quarter_turned,
    "tilted": tilted,
}


def write(
    image: Image.Image, words: str, place: tuple[float, float], height: float, colour: str, around: str | None = None
) -> None:
    """Words onto a picture. place, height: shares of its sides."""
    size = max(10, round(height * image.height))
    ImageDraw.Draw(image).text(
        (place[0] * image.width, place[1] * image.height),
        words,
        fill=colour,
        font=ImageFont.load_default(size),
        stroke_width=size // 16 if around else 0,
        stroke_fill=around,
    )
