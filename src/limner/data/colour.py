"""Any decoded image to plain sRGB: profiles converted, alpha flattened on white, 16 bits scaled to 8."""

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
