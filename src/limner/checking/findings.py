"""What is said of a picture: findings, each of a kind, with how grave it is and what to do."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from limner.checking.facts import Facts
from limner.data.buckets import MOST_ENLARGEMENT, buckets, enlargement
from limner.errors import UserError

Level = Literal["unusable", "fault", "note"]
Subject = Literal["object", "person", "animal", "style"]


@dataclass(frozen=True)
class Kind:
    """A kind of finding. level: of one that is sure. title: two or three words. advice: what to do."""

    level: Level
    title: str
    advice: str


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
    "screenshot": Kind("fault", "screenshot", "Crop the picture out of it; else bars and buttons are learned too."),
    "text": Kind("note", "text or watermark", "Crop or mask it, or say it in the caption."),
    "border": Kind("note", "border", "It is cropped away."),
    "long": Kind("note", "very long or tall", "Much of it is lost to the crop; cut it by hand."),
    "several_faces": Kind("fault", "several faces", "Crop it to the one person, or leave it out."),
    "no_face": Kind("note", "no face found", "Fine if the person is seen from behind; else check it."),
    "orientation": Kind("note", "turned by EXIF", "It is turned upright."),
    "location": Kind("note", "says where it was taken", "It is taken out of what is written."),
    "transparent": Kind("note", "transparent", "It is laid on white, or becomes the mask."),
    "frames": Kind("note", "several frames", "Its first frame is used."),
    "cmyk": Kind("note", "CMYK", "It is converted to sRGB."),
    "wide": Kind("note", "wide gamut", "It is converted to sRGB."),
    "deep": Kind("note", "more than 8 bits", "It is rounded to 8 bits."),
}


@dataclass(frozen=True)
class Finding:
    """Something about one picture. kind: a name of KINDS. sentence: completes "<file> ...".

    level: unusable, the file cannot be used at all; fault, it is better left out; note, good to know, mended by
    `limner prepare`, or what a good picture may show as well. others: names of the pictures that it is about too.
    """

    kind: str
    level: Level
    sentence: str
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wanted:
    """What pictures are to be good for. resolution: the side in pixels that is trained at. method: as in --method.

    sizes: the buckets, those of training where there are none. most_enlargement: along a side, to fill one of them.
    """

    resolution: int = 512
    subject: Subject = "object"
    method: str = "lora"
    sizes: tuple[tuple[int, int], ...] = ()
    most_enlargement: float = MOST_ENLARGEMENT

    def enlargement(self, width: float, height: float) -> float:
        """How many times a picture of that size must be enlarged, as `limner prepare` and training do it."""
        return enlargement(width, height, self.sizes or _usual_sizes(self.resolution))


@functools.cache
def _usual_sizes(resolution: int) -> tuple[tuple[int, int], ...]:
    """Of training; of a resolution that training refuses, a square."""
    try:
        return tuple(buckets(resolution))
    except UserError:
        return ((resolution, resolution),)


MOST_ENLARGED = 1.25  # times that the detail in a picture may have been enlarged, for what is trained at
# Where a fault and what good photographs may show overlap, it is a note from the first value on, and a fault from the
# second. Measured on photographs beside those of the recipe: whole, in parts, made smaller by any factor, saved at 75.
SHARP, SHARP_SURELY = 0.55, 0.42  # of Facts.sharpness; what is above is not called blurred, however small the picture
# A trace of interpolation is one of being made smaller by less than half, too: of 595 such parts of photographs 55 had
# it. That one was enlarged is sure only if it is soft as well: enlarged 2.7 times, most are.
SOFT_SURELY = 0.65
DETAIL = 0.7  # of the resolution that the sharpest parts of a picture must fill
# Brightness, and the lightest that is shown, below which a picture is too dark: woods at dusk go down to 0.2.
DARK, DARK_AT_MOST, DARK_SURELY = 0.25, 0.4, 0.2
# Brightness, share burnt out, the darkest that is shown, above which it is too bright.
BRIGHT, BURNT, PALE, PALE_SURELY = 0.8, 0.12, 0.35, 0.6
FLAT = (0.07, 0.25)  # contrast, and range, of a picture that is grey in grey
BLANK = 0.008  # contrast of a picture that shows nothing
QUALITY = 30  # of a JPEG, at most
BLOCKS, BLOCKS_SURELY = 0.95, 1.2  # of the grid that it left, at least: of quality 75 up to 1.1, of 8 mostly above 1.3
SAVED_AGAIN = 60  # quality of a JPEG from which its blocks are those of an earlier one. WebP has blocks of its own
NOISY = 8.0  # deviation of the noise, of 255
WRITTEN, SURELY = 0.003, 0.02  # share covered by letters from which on it may be written on, and surely is
LONG = 2.2  # times its shorter side
FACE = 0.3  # of the largest face's area, that another must have to be a second person


def findings(facts: Facts, wanted: Wanted) -> list[Finding]:
    """What there is to say of a picture by itself, the gravest first."""
    if facts.problem:
        return [_found("truncated" if "truncated" in facts.problem else "unreadable", facts.problem)]
    if facts.contrast < BLANK and facts.brightness >= DARK:
        return [_found("blank", "shows nothing but one colour"), *_of_file(facts)]
    said = [*_of_size(facts, wanted), *_of_pixels(facts), *_of_content(facts, wanted), *_of_file(facts)]
    return sorted(said, key=lambda finding: finding.level != "fault")


def _of_size(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """Whether it has the pixels, and in them the detail, that training at a resolution shows."""
    size = f"{facts.width}x{facts.height}"
    left, top, right, bottom = facts.border
    sides = facts.width * (1 - left - right), facts.height * (1 - top - bottom)
    needed = wanted.resolution / min(sides)
    times = wanted.enlargement(*sides)
    if times > wanted.most_enlargement:
        most = f"{wanted.most_enlargement:g} is the most"
        yield _found(
            "too_small", f"is {size} pixels and must be enlarged {times:.3g} times for {wanted.resolution}; {most}"
        )
    elif times > 1:
        yield _found("small", f"is {size} pixels, a little less than the {wanted.resolution} that are learned from")
    if facts.enlarged * needed > MOST_ENLARGED and facts.enlarged > 1:
        by = f"been enlarged about {facts.enlarged:.1f} times"
        detail = f"{sides[0] / facts.enlarged:.0f}x{sides[1] / facts.enlarged:.0f} pixels"
        if facts.sharpness < SOFT_SURELY:
            yield _found("enlarged", f"has {by}, from {detail}")
        else:
            yield _unsure("enlarged", f"may have {by}, from {detail}, or made smaller by less than half")
    elif facts.sharpness < SHARP and facts.sharpness * min(sides) < DETAIL * wanted.resolution:
        shown = f"its sharpest parts show no more than {facts.sharpness * min(sides):.0f} pixels would"
        sure = facts.sharpness < SHARP_SURELY
        yield _found("blurred", f"is blurred: even {shown}") if sure else _unsure("blurred", f"is soft: {shown}")
    if max(sides) > LONG * min(sides):
        lost = 1 - 2 * min(sides) / max(sides)
        yield _found(
            "long", f"is {max(sides) / min(sides):.1f} times as long as it is wide: a crop loses {lost:.0%} of it"
        )


def _of_pixels(facts: Facts) -> Iterator[Finding]:
    """Light, compression and noise."""
    darkest, lightest = facts.range
    if facts.brightness < DARK and lightest < DARK_AT_MOST:
        shown = f"dark: nothing in it is lighter than {lightest:.0%}"
        yield _found("dark", f"is too {shown}") if lightest < DARK_SURELY else _unsure("dark", f"is {shown}")
    elif facts.brightness > BRIGHT and facts.burnt > BURNT and darkest > PALE:
        shown = f"bright: colours are burnt out on {facts.burnt:.0%} of it, and nothing is dark"
        yield _found("bright", f"is too {shown}") if darkest > PALE_SURELY else _unsure("bright", f"is {shown}")
    elif facts.contrast < FLAT[0] and lightest - darkest < FLAT[1]:
        yield _found("flat", f"has little contrast: its lightness is between {darkest:.0%} and {lightest:.0%}")
    if facts.quality is not None and facts.quality <= QUALITY:
        yield _found("compressed", f"is a JPEG of quality {facts.quality}, of 100")
    elif facts.blocks >= BLOCKS and facts.kind != "WEBP" and (facts.quality or 100) >= SAVED_AGAIN:
        if facts.blocks >= BLOCKS_SURELY:
            yield _found("compressed", "shows the blocks of a JPEG of low quality")
        else:
            yield _unsure("compressed", "may show the blocks of a JPEG of low quality")
    if facts.noise >= NOISY:
        yield _found("noisy", f"is noisy: by about {facts.noise:.0f} of 255 levels")


def _of_content(facts: Facts, wanted: Wanted) -> Iterator[Finding]:
    """What it shows that is not the subject, or not one subject."""
    if facts.screen:
        yield _found("screenshot", "looks like a screenshot, whose bars and buttons would be learned")
    if facts.text >= WRITTEN:
        sure = "shows" if facts.text >= SURELY else "may show"
        yield _found("text", f"{sure} writing or a watermark, on {facts.text:.0%} of it")
    if any(facts.border):
        sides = zip(("left", "above", "right", "below"), facts.border, strict=True)
        where = ", ".join(f"{share:.0%} {side}" for side, share in sides if share)
        yield _found("border", f"has a plain border ({where})")
    if wanted.subject == "person":
        largest = max((face.area for face in facts.faces), default=0.0)
        persons = sum(face.area >= FACE * largest for face in facts.faces)
        if persons > 1:
            yield _found("several_faces", f"shows {persons} faces, where one person is meant")
        elif not persons:
            yield _found("no_face", "shows no face that was found")


def _of_file(facts: Facts) -> Iterator[Finding]:
    """What `limner prepare` mends by itself."""
    if facts.orientation != 1:
        yield _found("orientation", f"is stored turned or mirrored (EXIF orientation {facts.orientation})")
    if facts.location:
        yield _found("location", "says where it was taken")
    if facts.transparent > 0:
        yield _found("transparent", f"is transparent on {facts.transparent:.0%} of it")
    if facts.frames > 1:
        yield _found("frames", f"has {facts.frames} frames or pages")
    if facts.mode == "CMYK":
        with_profile = f", with the profile {facts.profile}" if facts.profile else ", without a profile"
        yield _found("cmyk", f"is in CMYK, for print{with_profile}")
    if facts.wide:
        yield _found("wide", f"holds colours that sRGB has not ({facts.profile})")
    if facts.bits > 8:
        yield _found("deep", f"has {facts.bits} bits a channel")


def _found(kind: str, sentence: str) -> Finding:
    return Finding(kind, KINDS[kind].level, sentence)


def _unsure(kind: str, sentence: str) -> Finding:
    """Of a kind that is a fault, where the picture may be a good one all the same."""
    return Finding(kind, "note", sentence)
