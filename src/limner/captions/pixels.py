"""What the pixels themselves say, with no network asked: how the subject is framed, and what colour is behind it."""

from PIL import Image

from limner.captions.captioner import Captioner
from limner.checking.facts import Facts

CLOSE_UP = 0.15  # share of the picture that the largest face covers at least
SMALL = 0.01  # and at most, where the whole person is in it


class Pixels(Captioner):
    """Only what is certain: a face that fills the picture is a close-up, a background of one colour has that colour.

    What a picture shows beside its subject it cannot say, so that of a style, whose captions name the content, there
    is nothing but the colour.
    """

    in_workers = True
    gives_tags = True

    def describe(self, image: Image.Image, facts: Facts) -> list[str]:
        tags = []
        if facts.faces:
            largest = max(face.area for face in facts.faces)
            tags += ["close-up"] if largest >= CLOSE_UP else ["full body"] if largest <= SMALL else []
        if facts.colour:
            tags.append(f"{facts.colour} background")
        return tags
