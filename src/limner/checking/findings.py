"""What is said of a picture: findings, each of a kind, with how grave it is and what to do."""

from dataclasses import dataclass
from typing import Literal

from limner.checking.facts import Facts

Level = Literal["unusable", "fault", "note"]
Subject = Literal["object", "person", "animal", "style"]


@dataclass(frozen=True)
class Kind:
    """A kind of finding. title: two or three words. advice: what to do. mended: whether `limner prepare` does it."""

    level: Level
    title: str
    advice: str
    mended: bool = False


# Every kind that a picture by itself can be found to be; what concerns several pictures is in duplicates.py and advice.
KINDS = {
    "unreadable": Kind("unusable", "unreadable", "Copy or export it again, or leave it out."),
    "truncated": Kind("unusable", "truncated", "Copy it again from where it came from."),
    "too_small": Kind("fault", "too small", "Take a larger original."),
    "small": Kind("note", "small", "A larger original would teach more detail."),
    "blank": Kind("fault", "blank", "Leave it out: it shows nothing."),
    "blurred": Kind("fault", "blurred", "Leave it out: blur is learned like everything else."),
    "enlarged": Kind("fault", "enlarged", "Look for the original from which it was enlarged."),
    "dark": Kind("fault", "too dark", "Brighten it, if there is detail in the shadows; else leave it out."),
    "bright": Kind("fault", "too bright", "Leave it out: what is burnt out cannot be brought back."),
    "flat": Kind("note", "little contrast", "Raise its contrast, if that is not how the subject looks."),
    "compressed": Kind("fault", "compressed", "Look for the original: blocks are learned like everything else."),
    "noisy": Kind("note", "noisy", "Take it with more light, or denoise it."),
    "screenshot": Kind("note", "screenshot", "Crop the picture out of it, or leave it out."),
    "text": Kind("note", "text or watermark", "Crop or mask it, or say it in the caption."),
    "border": Kind("note", "border", "It is cropped away.", mended=True),
    "long": Kind("note", "very long or tall", "Much of it is lost to the crop; cut it by hand."),
    "several_faces": Kind("fault", "several faces", "Crop it to the one person, or leave it out."),
    "no_face": Kind("note", "no face found", "Fine if the person is seen from behind; else check it."),
    "orientation": Kind("note", "turned by EXIF", "It is turned upright.", mended=True),
    "location": Kind("note", "says where it was taken", "It is taken out of what is written.", mended=True),
    "transparent": Kind("note", "transparent", "It is laid on white, or becomes the mask.", mended=True),
    "frames": Kind("note", "several frames", "Its first frame is used.", mended=True),
    "cmyk": Kind("note", "CMYK", "It is converted to sRGB.", mended=True),
    "wide": Kind("note", "wide gamut", "It is converted to sRGB.", mended=True),
    "deep": Kind("note", "more than 8 bits", "It is rounded to 8 bits.", mended=True),
}


@dataclass(frozen=True)
class Finding:
    """Something about one picture. kind: a name of KINDS. sentence: completes "<file> ...".

    level: unusable, the file cannot be used at all; fault, it is better left out; note, good to know, or mended by
    `limner prepare`. others: names of the pictures that it is about too.
    """

    kind: str
    level: Level
    sentence: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What pictures are to be good for. resolution: the side in pixels that is trained at. method: as in --method."""

    resolution: int = 512
    subject: Subject = "object"
    method: str = "lora"


def findings(facts: Facts, wanted: Wanted) -> list[Finding]:
    """What there is to say of a picture by itself, the gravest first."""
    if facts.problem:
        return [_found("truncated" if "truncated" in facts.problem else "unreadable", facts.problem)]
    found = []
    if min(facts.width, facts.height) * 1.25 < wanted.resolution:
        found.append(_found("too_small", f"is only {facts.width}x{facts.height} pixels"))
    return found


def _found(kind: str, sentence: str) -> Finding:
    return Finding(kind, KINDS[kind].level, sentence)
