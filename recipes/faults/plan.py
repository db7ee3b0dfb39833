"""What is planted, how often in each half, and which findings of `limner check` count as having found it."""

from dataclasses import dataclass

from recipes.faults import spoil
from recipes.faults.edits import Edit

UNREADABLE = ("unreadable", "truncated")
COPIES = 4  # near-duplicates of each edit, in each half


@dataclass(frozen=True)
class Fault:
    """found: kinds of findings (limner.checking.findings.KINDS), any of which finds it. None: it is no fault, only a
    form of file that must be read without an accusation. hard: nothing may be missed."""

    make: Edit
    count: int
    found: tuple[str, ...] = ()
    hard: bool = False


FAULTS: dict[str, Fault] = {
    "truncated JPEG": Fault(spoil.truncated(".jpg"), 3, UNREADABLE, hard=True),
    "truncated PNG": Fault(spoil.truncated(".png"), 2, UNREADABLE, hard=True),
    "truncated WebP": Fault(spoil.truncated(".webp"), 1, UNREADABLE, hard=True),
    "damaged PNG": Fault(spoil.damaged_png, 2, UNREADABLE, hard=True),
    "damaged JPEG": Fault(spoil.damaged_jpeg, 1, UNREADABLE, hard=True),
    "garbled JPEG": Fault(spoil.garbled, 2, UNREADABLE),
    "text named as a picture": Fault(spoil.text_named_png, 2, ("unreadable",), hard=True),
    "empty": Fault(spoil.empty, 2, ("unreadable",), hard=True),
    "bomb": Fault(spoil.bomb, 2, ("unreadable",), hard=True),
    "tiny": Fault(spoil.tiny, 4, ("too_small", "unreadable"), hard=True),
    "out of focus": Fault(spoil.blurred_gaussian, 4, ("blurred", "enlarged")),
    "shaken": Fault(spoil.blurred_motion, 4, ("blurred", "enlarged")),
    "enlarged": Fault(spoil.enlarged, 4, ("enlarged", "blurred")),
    "underexposed": Fault(spoil.dark, 3, ("dark", "blank")),
    "overexposed": Fault(spoil.bright, 3, ("bright", "blank")),
    "quality 8": Fault(spoil.compressed, 3, ("compressed",)),
    "quality 8, saved as PNG": Fault(spoil.compressed_before, 3, ("compressed",)),
    "letterboxed": Fault(spoil.letterboxed, 4, ("border",)),
    "framed": Fault(spoil.framed, 4, ("border",)),
    "watermark": Fault(spoil.watermarked, 3, ("text",)),
    "large words": Fault(spoil.lettered, 3, ("text",)),
    "screenshot": Fault(spoil.screenshot, 3, ("screenshot", "text")),
    **{f"EXIF {turn}": Fault(spoil.turned(turn), 1, ("orientation",)) for turn in range(2, 9)},
    "EXIF 1": Fault(spoil.turned(1), 1),
    "location": Fault(spoil.located, 3, ("location",)),
    "CMYK": Fault(spoil.cmyk, 2, ("cmyk",)),
    "CMYK with a profile": Fault(spoil.cmyk_with_profile, 1, ("cmyk",)),
    "Display P3": Fault(spoil.wide, 2, ("wide",)),
    "16 bits": Fault(spoil.deep, 2, ("deep",)),
    "grey with a profile": Fault(spoil.grey_with_profile, 1),
    "transparent": Fault(spoil.transparent, 3, ("transparent",)),
    "animated GIF": Fault(spoil.animated(".gif"), 1, ("frames",)),
    "animated PNG": Fault(spoil.animated(".png"), 1, ("frames",)),
    "animated WebP": Fault(spoil.animated(".webp"), 1, ("frames",)),
    "HEIC": Fault(spoil.heic, 2),
}
SEVERAL_FACES = "several faces"
