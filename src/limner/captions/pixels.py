"""What the pixels themselves say, with no network asked: how the subject is framed, and what colour is behind it."""

import numpy as np
from PIL import Image

from limner.captions.captioner import Captioner
from limner.checking.facts import Facts
from limner.vision.colours import background_name
from limner.vision.faces import Faces
from limner.vision.light import background_of
from limner.vision.pixels import fitted
from limner.vision.region import Region
from limner.vision.salience import salient

SIDE = 512  # pixels of the longer side at which pictures are looked at
CLOSE_UP = 0.15  # share of the picture that the largest face covers at least
FAR = 0.22  # share that what stands out from a background of one colour covers at most
OFF_CENTRE = 0.3  # from a side, in shares, where the middle of something small is said to be there


class Pixels(Captioner):
    """Only what is certain: a face that fills the picture is a close-up, a background of one colour has that colour,
    and what stands out from it is small, and where. Before a background of many things nothing stands out for certain.

    The picture is looked at anew where it is a crop, of which the facts may not be true. What it shows beside its
    subject pixels cannot say, so that of a style, whose captions name the content, there is nothing but this.
    """

    in_workers = True
    gives_tags = True

    def describe(self, image: Image.Image, facts: Facts) -> list[str]:
        if image.size == (facts.width, facts.height):
            return say(facts.faces, facts.salient, facts.colour)
        rgb = fitted(np.asarray(image), SIDE)
        return say(Faces()(rgb), salient(rgb, background_of(rgb)), background_name(rgb))


def say(faces: tuple[Region, ...], stands_out: Region | None, colour: str) -> list[str]:
    """What is certain. faces: the largest first. colour: of the background, "" if it is not of one."""
    tags = ["close-up"] if faces and faces[0].area >= CLOSE_UP else []
    if not tags and colour and stands_out and stands_out.area <= FAR:
        tags += ["wide shot", *where(stands_out)]
    return [*tags, f"{colour} background"] if colour else tags


def where(region: Region) -> list[str]:
    """On which side of the picture something is; nothing if it is in the middle, or in a corner."""
    across, down = (region.left + region.right) / 2, (region.top + region.bottom) / 2
    sides = {"on the left": across, "on the right": 1 - across, "at the top": down, "at the bottom": 1 - down}
    found = [side for side, distance in sides.items() if distance < OFF_CENTRE]
    return found if len(found) == 1 else []
