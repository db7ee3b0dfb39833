"""What the pixels themselves say, with no network asked: how the subject is framed, and what colour is behind it."""

from PIL import Image

from limner.captions.captioner import Captioner
from limner.checking.facts import Facts
from limner.vision.region import Region

CLOSE_UP = 0.15  # share of the picture that the largest face covers at least
FAR_FACE = 0.01  # and at most, where it was taken from far away
FAR = 0.22  # the same of what stands out from a background of one colour
OFF_CENTRE = 0.3  # from a side, in shares, where the middle of something small is said to be there


class Pixels(Captioner):
    """Only what is certain: a face that fills the picture is a close-up, a background of one colour has that colour,
    and what stands out from it is small, and where. Before a background of many things nothing stands out for certain.

    What a picture shows beside its subject it cannot say, so that of a style, whose captions name the content, there
    is nothing but this.
    """

    in_workers = True
    gives_tags = True

    def describe(self, image: Image.Image, facts: Facts) -> list[str]:
        tags = []
        if facts.faces:
            largest = max(face.area for face in facts.faces)
            tags += ["close-up"] if largest >= CLOSE_UP else ["wide shot"] if largest <= FAR_FACE else []
        elif facts.colour and facts.salient and facts.salient.area <= FAR:
            tags += ["wide shot", *where(facts.salient)]
        if facts.colour:
            tags.append(f"{facts.colour} background")
        return tags


def where(region: Region) -> list[str]:
    """On which side of the picture something is; nothing if it is in the middle, or in a corner."""
    across, down = (region.left + region.right) / 2, (region.top + region.bottom) / 2
    sides = {"on the left": across, "on the right": 1 - across, "at the top": down, "at the bottom": 1 - down}
    found = [side for side, distance in sides.items() if distance < OFF_CENTRE]
    return found if len(found) == 1 else []
