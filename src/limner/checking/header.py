"""What a file says of itself beside its pixels: kind, colours, how it lies, where and with what it was taken."""

import functools
import io
from typing import Any

import numpy as np
from PIL import Image, ImageCms, ImageFile, IptcImagePlugin

from limner.data.decode import orientation

_PNG = b"\x89PNG\r\n\x1a\n"
_BITS_PER_SAMPLE = 258  # of TIFF
_GPS, _EXIF = 0x8825, 0x8769  # parts of EXIF
_POSITION = (2, 4)  # GPSLatitude, GPSLongitude
_MAKE, _MODEL = 0x010F, 0x0110
_USER_COMMENT = 0x9286
_PLACES = ((2, 90), (2, 92), (2, 95), (2, 101))  # IPTC: city, sublocation, state, country
WIDER = 1.05  # times sRGB's triangle of colours


def header_facts(image: Image.Image, data: bytes) -> dict[str, Any]:
    """Values of Facts, by their names, of an image of data.decode.open_image() that is loaded, and the file's bytes."""
    profile = _profile(image)
    kind = "JPEG" if image.format == "MPO" else image.format or ""
    return {
        "kind": kind,
        "mode": image.mode,
        "bits": _bits(image, data),
        "orientation": orientation(image),
        # The further pictures of an MPO are a phone's: a preview, the depth, a gain map.
        "frames": 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1)),
        "profile": "" if profile is None else _described(profile),
        "wide": profile is not None and _is_wide(profile),
        "location": _has_location(image),
        "camera": _has_camera(image),
        "quality": _quality(image),
    }


def says_screenshot(image: Image.Image) -> bool:
    """Whether the file itself says that it is one, as those of iPhones do."""
    try:
        said = image.getexif().get_ifd(_EXIF).get(_USER_COMMENT, b"")
    except Exception:
        return False
    said = said.encode() if isinstance(said, str) else bytes(said)
    return b"Screenshot" in said or (b"<exif:UserComment" in _xmp(image) and b">Screenshot<" in _xmp(image))


def _bits(image: Image.Image, data: bytes) -> int:
    """Bits of a channel, as stored; Pillow shows 16 of three channels as 8."""
    if data.startswith(_PNG):
        return data[24] if image.mode not in ("P", "1") else 8
    if image.format == "TIFF":
        return int(max(image.tag_v2.get(_BITS_PER_SAMPLE, (8,))))  # type: ignore[attr-defined]
    return int(image.info.get("bit_depth", 8))


def _profile(image: Image.Image) -> ImageCms.ImageCmsProfile | None:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(image.info["icc_profile"]))
    except (KeyError, TypeError, OSError, ImageCms.PyCMSError):
        return None


def _described(profile: ImageCms.ImageCmsProfile) -> str:
    try:
        return ImageCms.getProfileDescription(profile).strip()
    except ImageCms.PyCMSError:
        return "without a name"


def _is_wide(profile: ImageCms.ImageCmsProfile) -> bool:
    found = _gamut(profile)
    return found is not None and found > WIDER * (_gamut(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))) or 1)


def _gamut(profile: ImageCms.ImageCmsProfile) -> float | None:
    """The area between a profile's primaries in CIE xy; None if it has none, as of grey and CMYK."""
    found = [getattr(profile.profile, f"{name}_primary", None) for name in ("red", "green", "blue")]
    primaries = [each for each in found if each is not None]
    if len(primaries) < 3:
        return None
    (ax, ay), (bx, by), (cx, cy) = (each[1][:2] for each in primaries)
    return abs((bx - ax) * (cy - ay) - (cx - ax) * (by - ay)) / 2


def _has_location(image: Image.Image) -> bool:
    """Whether EXIF, XMP or IPTC say where the picture was taken."""
    try:
        if any(tag in image.getexif().get_ifd(_GPS) for tag in _POSITION):
            return True
        if b"GPSLatitude" in _xmp(image) or b"GPSLongitude" in _xmp(image):
            return True
        told = IptcImagePlugin.getiptcinfo(image) if isinstance(image, ImageFile.ImageFile) else None
        return any(place in (told or {}) for place in _PLACES)
    except Exception:  # blocks may be damaged in any way, and the pixels be fine
        return False


def _xmp(image: Image.Image) -> bytes:
    said = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    return said.encode() if isinstance(said, str) else said


def _has_camera(image: Image.Image) -> bool:
    try:
        exif = image.getexif()
        return bool(exif.get(_MAKE) or exif.get(_MODEL))
    except Exception:
        return False


def _quality(image: Image.Image) -> int | None:
    """The quality, 1..100, at which libjpeg writes tables as coarse as a JPEG's; None of other files."""
    tables = getattr(image, "quantization", None)
    if not tables:
        return None
    return int(np.abs(_coarseness() - sum(tables[min(tables)])).argmin()) + 1


@functools.cache
def _coarseness() -> np.ndarray:
    """Sums of the luminance tables of libjpeg's qualities 1 to 100, read from files that Pillow writes."""
    sums = []
    for quality in range(1, 101):
        stream = io.BytesIO()
        Image.new("L", (8, 8)).save(stream, "JPEG", quality=quality)
        tables = Image.open(stream, formats=("JPEG",)).quantization  # type: ignore[attr-defined]
        sums.append(sum(tables[0]))
    return np.array(sums)
