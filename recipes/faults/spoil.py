"""Faults of single pictures: each takes a picture and a source of chance, and gives a file with the fault."""

import io
import struct
import zlib

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps

from recipes.faults import profiles
from recipes.faults.edits import FILTER, Edit, Made, encode, write

LOCATION = {1: "N", 2: (57.0, 3.0, 4.0), 3: "W", 4: (4.0, 7.0, 9.0)}  # a moor in Scotland


def blurred_gaussian(image: Image.Image, rng: np.random.Generator) -> Made:
    """Out of focus, by a deviation of 0.5 to 0.9 in a hundred of its longest side."""
    return encode(image.filter(ImageFilter.GaussianBlur(max(image.size) * rng.uniform(0.005, 0.009))))


def blurred_motion(image: Image.Image, rng: np.random.Generator) -> Made:
    """Shaken: smeared along a line of 2 to 4 in a hundred of its longest side."""
    length = max(9, round(max(image.size) * rng.uniform(0.02, 0.04))) | 1
    kernel = np.zeros((length, length), np.float32)
    angle, middle = rng.uniform(0, np.pi), length // 2
    end = (round(middle + middle * np.cos(angle)), round(middle + middle * np.sin(angle)))
    cv2.line(kernel, (2 * middle - end[0], 2 * middle - end[1]), end, 1.0)
    return encode(Image.fromarray(cv2.filter2D(np.asarray(image), -1, kernel / kernel.sum())))


def enlarged(image: Image.Image, rng: np.random.Generator) -> Made:
    """Made small and large again, by 4 to 6."""
    by = rng.uniform(4, 6)
    small = image.resize((round(image.width / by), round(image.height / by)), Image.Resampling.BOX)
    return encode(small.resize(image.size, FILTER))


def truncated(ending: str) -> Edit:
    """A maker of downloads that broke off: the file's beginning, 15 to 95 in a hundred of it."""

    def make(image: Image.Image, rng: np.random.Generator) -> Made:
        _, data = encode(image, ending)
        return ending, data[: round(len(data) * rng.uniform(0.15, 0.95))]

    return make


def damaged_png(image: Image.Image, rng: np.random.Generator) -> Made:
    """Some bytes in the middle are others."""
    return _overwritten(encode(image, ".png"), 0.5, rng)


def damaged_jpeg(image: Image.Image, rng: np.random.Generator) -> Made:
    """Its beginning is of another file: no table is whole."""
    return _overwritten(encode(image), 0.0, rng)


def _overwritten(made: Made, at: float, rng: np.random.Generator) -> Made:
    ending, data = made
    broken, start = bytearray(data), round(at * len(data))
    broken[start : start + 512] = rng.integers(256, size=512, dtype=np.uint8).tobytes()
    return ending, bytes(broken)


def garbled(image: Image.Image, rng: np.random.Generator) -> Made:
    """A JPEG whose tables are whole, with other bytes amid its pixels: it decodes, to a torn picture."""
    return _overwritten(encode(image), float(rng.uniform(0.3, 0.6)), rng)


def text_named_png(image: Image.Image, rng: np.random.Generator) -> Made:
    words = (b"the pictures are on the other disk\n", b"<!doctype html><title>404</title><p>not found")
    return str(rng.choice([".png", ".jpg"])), words[int(rng.integers(2))]


def empty(image: Image.Image, rng: np.random.Generator) -> Made:
    return str(rng.choice([".png", ".jpg"])), b""


def bomb(image: Image.Image, rng: np.random.Generator) -> Made:
    """A PNG whose header claims more pixels than any memory holds."""
    side = int(rng.choice([50_000, 200_000, 2_000_000]))
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = (b"IHDR", header), (b"IDAT", zlib.compress(bytes(10_000))), (b"IEND", b"")
    parts = [
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    ]
    return ".png", b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiny(image: Image.Image, rng: np.random.Generator) -> Made:
    image = image.copy()
    image.thumbnail((int(rng.integers(64, 220)),) * 2, Image.Resampling.LANCZOS)
    return encode(image)


def dark(image: Image.Image, rng: np.random.Generator) -> Made:
    """Underexposed by about four stops."""
    return encode(ImageEnhance.Brightness(image).enhance(rng.uniform(0.05, 0.1)))


def bright(image: Image.Image, rng: np.random.Generator) -> Made:
    """Overexposed: most of it burnt out."""
    lifted = np.asarray(image, np.float32) * rng.uniform(2.5, 3.5) + 90
    return encode(Image.fromarray(np.clip(lifted, 0, 255).astype(np.uint8)))


def compressed(image: Image.Image, rng: np.random.Generator) -> Made:
    return encode(image, quality=8)


def compressed_before(image: Image.Image, rng: np.random.Generator) -> Made:
    """Blocks of a JPEG of quality 8, saved as PNG."""
    return encode(Image.open(io.BytesIO(compressed(image, rng)[1])), ".png")


def letterboxed(image: Image.Image, rng: np.random.Generator) -> Made:
    """Black bars above and below, or on the left and right."""
    wide, high = image.size
    bar = round(max(image.size) * rng.uniform(0.1, 0.2))
    border = (0, bar) if rng.random() < 0.5 else (bar, 0)
    return encode(ImageOps.expand(image.resize((wide, high)), border, "black"))


def framed(image: Image.Image, rng: np.random.Generator) -> Made:
    """A frame of one colour all around."""
    colour = str(rng.choice(["white", "black", "#d8c9a3", "#204060"]))
    return encode(ImageOps.expand(image, round(max(image.size) * rng.uniform(0.04, 0.1)), colour))


def watermarked(image: Image.Image, rng: np.random.Generator) -> Made:
    """A half transparent mark across it, again and again."""
    mark = Image.new("RGBA", image.size)
    for row in range(4):
        write(
            mark, "SAMPLE - stock.example", (0.02 + 0.1 * (row % 2), 0.08 + 0.25 * row), 0.07, "#ffffff90", "#00000060"
        )
    whole = image.convert("RGBA")
    whole.alpha_composite(mark)
    return encode(whole.convert("RGB"))


def lettered(image: Image.Image, rng: np.random.Generator) -> Made:
    """Large words over it, as on a poster or in a joke."""
    image = image.copy()
    write(image, "WHEN IT IS MONDAY", (0.04, 0.03), 0.085, "white", "black")
    write(image, "AND THE COFFEE IS OUT", (0.04, 0.87), 0.075, "white", "black")
    return encode(image)


def screenshot(image: Image.Image, rng: np.random.Generator) -> Made:
    """A telephone's screen that shows it: bars with words above and below, in a PNG of such a screen's size."""
    page = Image.new("RGB", (1080, 2340), "white" if rng.random() < 0.5 else "#15181c")
    ink = "black" if page.getpixel((0, 0)) == (255, 255, 255) else "white"
    shown = image.resize((1080, round(image.height * 1080 / image.width)), FILTER).crop((0, 0, 1080, 1400))
    page.paste(shown, (0, 320))
    write(page, "12:47            4G   83%", (0.05, 0.012), 0.018, ink)
    write(page, "<   someone", (0.05, 0.06), 0.026, ink)
    for row, words in enumerate(("1,204 likes", "someone  what a day this was", "View all 63 comments", "2 hours ago")):
        write(page, words, (0.05, 0.77 + 0.035 * row), 0.02, ink)
    ImageDraw.Draw(page).line((340, 2310, 740, 2310), fill=ink, width=10)
    return encode(page, ".png")


def turned(orientation: int) -> Edit:
    """A maker of pictures that lie as a camera held so would store them, with the EXIF that says it."""
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # Image.Transpose that undoes what the EXIF asks for

    def make(image: Image.Image, rng: np.random.Generator) -> Made:
        exif = Image.Exif()
        exif[0x0112] = orientation
        stored = image.transpose(Image.Transpose(back[orientation])) if orientation > 1 else image
        return encode(stored, exif=exif)

    return make


def located(image: Image.Image, rng: np.random.Generator) -> Made:
    exif = Image.Exif()
    exif[0x010F] = "Camera maker"
    exif.get_ifd(0x8825).update(LOCATION)
    return encode(image, exif=exif)


def cmyk(image: Image.Image, rng: np.random.Generator) -> Made:
    return encode(image.convert("CMYK"), str(rng.choice([".jpg", ".tif"])))


def cmyk_with_profile(image: Image.Image, rng: np.random.Generator) -> Made:
    return encode(image.convert("CMYK"), icc_profile=profiles.press())


def wide(image: Image.Image, rng: np.random.Generator) -> Made:
    return encode(image, icc_profile=profiles.display_p3())


def grey_with_profile(image: Image.Image, rng: np.random.Generator) -> Made:
    return encode(image.convert("L"), icc_profile=profiles.grey())


def deep(image: Image.Image, rng: np.random.Generator) -> Made:
    """A PNG of 16 bits a channel."""
    values = np.asarray(image if rng.random() < 0.5 else image.convert("L")).astype(np.uint16) * 257
    done, data = cv2.imencode(".png", values[..., ::-1] if values.ndim == 3 else values)
    assert done
    return ".png", data.tobytes()


def transparent(image: Image.Image, rng: np.random.Generator) -> Made:
    """Cut out by an ellipse with a soft edge."""
    alpha = Image.new("L", image.size)
    inset = [round(side * 0.08) for side in image.size]
    ImageDraw.Draw(alpha).ellipse((*inset, image.width - inset[0], image.height - inset[1]), fill=255)
    whole = image.copy()
    whole.putalpha(alpha.filter(ImageFilter.GaussianBlur(3)))
    return encode(whole, str(rng.choice([".png", ".webp"])))


def animated(ending: str) -> Edit:
    """A maker of moving pictures of three frames."""

    def make(image: Image.Image, rng: np.random.Generator) -> Made:
        frames = [image, ImageOps.mirror(image), ImageEnhance.Brightness(image).enhance(0.6)]
        if ending == ".gif":
            frames = [frame.quantize(128) for frame in frames]
        return encode(frames[0], ending, save_all=True, append_images=frames[1:], duration=120)

    return make


def heic(image: Image.Image, rng: np.random.Generator) -> Made:
    import pillow_heif

    stream = io.BytesIO()
    pillow_heif.from_pillow(image).save(stream, quality=80)
    return ".heic", stream.getvalue()


def beside(images: list[Image.Image]) -> Image.Image:
    """Pictures side by side, of one height."""
    high = min(image.height for image in images)
    fitted = [image.resize((round(image.width * high / image.height), high), FILTER) for image in images]
    canvas = Image.new("RGB", (sum(image.width for image in fitted), high))
    left = 0
    for image in fitted:
        canvas.paste(image, (left, 0))
        left += image.width
    return canvas
