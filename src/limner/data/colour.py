"""Any decoded image to plain sRGB: profiles converted, alpha flattened on white, 16 bits scaled to 8."""

import functools
import io

import numpy as np
from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")


def to_srgb(image: Image.Image) -> Image.Image:
    """A loaded image of any mode -> mode "RGB" in sRGB, without EXIF, profile or alpha. Else ValueError."""
    profile = image.info.get("icc_profile")
    image = eight_bits(image)
    alpha = None
    if image.has_transparency_data:
        whole = image.convert("RGBA")
        alpha = whole.getchannel("A")
        image = whole.convert("L" if image.mode == "LA" else "RGB")  # a profile of a grey image is a grey one
    elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
        image = image.convert("RGB")
    rgb = _convert(image, profile)
    if alpha is not None:
        rgb = Image.composite(rgb, Image.new("RGB", rgb.size, "white"), alpha)
    rgb.info = {}
    return rgb


def is_srgb(image: Image.Image) -> bool:
    """Whether to_srgb would change no pixel of an image: then its copying can be spared."""
    if image.mode != "RGB" or image.has_transparency_data:
        return False
    profile = image.info.get("icc_profile")
    return not profile or _says_srgb(profile)


@functools.lru_cache(maxsize=16)  # pictures of one camera have one profile
def _says_srgb(profile: bytes) -> bool:
    """Whether a profile is sRGB's own, or an unsound one, which is passed over: no colour becomes another by it."""
    levels = np.arange(0, 256, 15, dtype=np.uint8)
    colours = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(len(levels), -1, 3)
    converted = np.asarray(_convert(Image.fromarray(colours), profile))
    return int(np.abs(converted.astype(int) - colours).max()) <= 1  # of 255, by rounding


def eight_bits(image: Image.Image) -> Image.Image:
    """Modes of 16 and 32 bits to "L"; Pillow's own convert() clips them at 255 instead of scaling."""
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.nan_to_num(np.asarray(image, dtype=np.float32))
    # Floats are 0..1 by custom; integers fill 16 bits, as in a 16-bit PNG.
    top = 65535.0 if image.mode.startswith("I") else 1.0 if values.max(initial=0) <= 1 else 255.0
    return Image.fromarray(np.rint(np.clip(values / top, 0, 1) * 255).astype(np.uint8))


def _convert(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Through the embedded ICC profile if there is a sound one that fits the mode, else by the mode's usual formula."""
    source: ImageCms.core.CmsProfile | ImageCms.ImageCmsProfile | None = None
    if image.mode == "LAB":
        source = ImageCms.createProfile("LAB")
    elif profile:
        try:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        except (OSError, ImageCms.PyCMSError):
            source = None
    if source is not None:
        try:
            converted = ImageCms.profileToProfile(
                image,
                source,
                _SRGB,
                renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
                outputMode="RGB",
                flags=ImageCms.Flags.BLACKPOINTCOMPENSATION,
            )
        except ImageCms.PyCMSError:  # a damaged profile, or one of another colour space: a grey one in an RGB file
            converted = None
        if converted is not None:
            return converted
    return image.convert("RGB")
