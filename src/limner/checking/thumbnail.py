"""A picture as it is shown beside what is said of it."""

from PIL import Image

from limner.data.colour import to_srgb
from limner.data.decode import Unusable, decode, problems
from limner.data.source import Source


def thumbnail(source: Source, side: int) -> Image.Image | None:
    """The picture, its longer side at most `side` pixels, upright, in sRGB; None if it cannot be shown."""
    try:
        with problems():
            image = to_srgb(decode(source.read(), at_least=side))
    except Unusable:
        return None
    image.thumbnail((side, side), Image.Resampling.LANCZOS)
    return image
