"""What is measured of one picture, once: plain values, a line of JSON each, from which everything else is judged."""

from dataclasses import asdict, dataclass
from typing import Any, Self

from limner.vision.region import Region

MEASURED = 5  # counted up when a value comes to be measured in another way: facts on disk are then measured anew
WIDTH = 1280  # of a picture's features


@dataclass(frozen=True)
class Facts:
    """One file. problem: why it cannot be used, completing "<file> ..."; all further values are then the defaults.

    Of the file: name, as Source has it; sha256 and size of its bytes; kind, as Pillow calls it; mode, as decoded;
    bits of a channel; orientation of EXIF (1 is upright); frames; profile, the name of its ICC profile; wide, whether
    that holds colours outside sRGB; location, whether EXIF says where it was taken; camera, whether EXIF names one;
    quality of a JPEG by its tables, 1..100, None where it has none.

    Of the upright picture: width and height in pixels; transparent, share of pixels that are not opaque; screen,
    whether it looks like a screenshot; border, shares of the sides (left, top, right, bottom) that are plain edge
    around the picture; faces, the largest first. Of what is inside its border: sharpness, 0..1, of its sharpest parts,
    1 if they are as sharp as its pixels can show; enlarged, about how many times its sides were enlarged by
    interpolation, 1 if no trace of that is found; brightness, contrast, burnt, black and range: see vision.light.Light;
    blocks, how clearly the grid of a JPEG stands out; noise, deviation in 0..255; text, the share that rows of letters
    cover; salient, where most of what stands out lies, in shares of the whole; colour, the name of its background's, ""
    if that is not of one; hashes: perceptual ones in hex, of the "whole" and, if it has a border, of what is "inside",
    by these names, and "whole turned" and "inside turned", of their seven turned and mirrored copies.
    """

    name: str
    sha256: str = ""
    size: int = 0
    problem: str = ""
    kind: str = ""
    mode: str = ""
    bits: int = 8
    orientation: int = 1
    frames: int = 1
    profile: str = ""
    wide: bool = False
    location: bool = False
    camera: bool = False
    quality: int | None = None
    width: int = 0
    height: int = 0
    transparent: float = 0.0
    sharpness: float = 0.0
    enlarged: float = 1.0
    brightness: float = 0.0
    contrast: float = 0.0
    burnt: float = 0.0
    black: float = 0.0
    range: tuple[float, float] = (0.0, 1.0)
    blocks: float = 0.0
    noise: float = 0.0
    text: float = 0.0
    screen: bool = False
    border: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    faces: tuple[Region, ...] = ()
    salient: Region | None = None
    colour: str = ""
    hashes: tuple[tuple[str, str], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The reverse of to_dict, also after a way through JSON."""
        regions = {"faces": tuple(Region(**each) for each in values["faces"])}
        regions["salient"] = Region(**values["salient"]) if values["salient"] else None  # type: ignore[assignment]
        tuples = {name: tuple(values[name]) for name in ("range", "border")}
        hashes = tuple((name, value) for name, value in values["hashes"])
        return cls(**(values | regions | tuples | {"hashes": hashes}))
