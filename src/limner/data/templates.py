"""Published lists of texts around a keyword, of which each picture gets one that is true of it.

- Gal et al. 2022, An Image is Worth One Word (2208.01618), github.com/rinongal/textual_inversion, MIT:
  imagenet_templates_small of personalized.py for objects and of personalized_style.py for styles.
- Radford et al. 2021 (2103.00020), github.com/openai/CLIP, MIT: the 80 texts for ImageNet, from which those of Gal et
  al. come, and the one for Oxford-IIIT Pets.

A text that says more of a picture than that it shows the subject has `claims`, and is for pictures of which they are
known to be true. What nobody can know of it (nice, cool, weird, my, dirty, small, and that a photo is a rendering or
an illustration) is left out, which is most of Gal's 57 different texts: training on what is not so teaches that these
words mean nothing. DreamBooth's list (2208.12242) is all scenes, "in the snow", for pictures that are to be drawn.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Literal

from limner.errors import UserError

Kind = Literal["object", "person", "animal", "style"]
AUTO = "auto"

STYLES = {"style", "art", "aesthetic", "painting", "illustration", "drawing", "artist"}
PEOPLE = {
    "person", "man", "woman", "boy", "girl", "baby", "child", "kid", "guy", "lady", "male", "female", "human", "face",
    "actor", "actress", "singer", "dancer", "player", "model", "father", "mother", "grandfather", "grandmother",
}  # fmt: skip
ANIMALS = {
    "animal", "pet", "dog", "puppy", "cat", "kitten", "bird", "horse", "pony", "rabbit", "hamster", "fish", "parrot",
    "cow", "sheep", "goat", "pig", "chicken", "duck", "fox", "wolf", "bear", "lion", "tiger", "monkey", "mouse",
    "guinea pig", "turtle", "snake", "lizard", "frog", "owl", "panda", "elephant",
}  # fmt: skip
KNOWN: dict[Kind, set[str]] = {"style": STYLES, "person": PEOPLE, "animal": ANIMALS}


@dataclass(frozen=True)
class Template:
    """A text with {keyword} and {class}. claims: what it says of the picture beside, of CLAIMS."""

    text: str
    claims: frozenset[str] = frozenset()


CLAIMS = ("close-up",)  # that a captioner makes


def _templates(subject: str, *texts: str) -> tuple[Template, ...]:
    return tuple(
        Template(text.replace("{}", subject), frozenset(claim for claim in CLAIMS if claim in text)) for text in texts
    )


# Our own usual one, and of Gal et al.'s list what can be true of a photo of anything.
OBJECT = _templates(
    "{keyword} {class}",
    "a photo of a {}", "the photo of a {}", "a photo of the {}", "a photo of one {}", "a close-up photo of a {}",
    "a close-up photo of the {}",
)  # fmt: skip
# The same without an article, since a name has none.
PERSON = _templates(
    "{keyword} {class}",
    "a photo of {}", "the photo of {}", "a close-up photo of {}",
)  # fmt: skip
# With CLIP's text for pets: "a photo of a {}, a type of pet.", the class in the place of "pet".
ANIMAL = (*OBJECT, Template("a photo of {keyword}, a type of {class}"))
# Of Gal et al.'s list for styles; the keyword alone is the style's name.
STYLE = _templates(
    "{keyword}",
    "a picture in the style of {}", "a rendition in the style of {}",
)  # fmt: skip
LISTS: dict[str, tuple[Template, ...]] = {"object": OBJECT, "person": PERSON, "animal": ANIMAL, "style": STYLE}


def kind_of(class_word: str) -> Kind:
    """What sort of thing a class is: by its last word, and an object if that is nothing known."""
    words = re.findall(r"\w+", class_word.lower())
    for kind, known in KNOWN.items():
        if words and (words[-1] in known or " ".join(words[-2:]) in known):
            return kind
    return "object"


def choose(template: str, sha256: str, keyword: str, class_word: str = "", known: frozenset[str] = frozenset()) -> str:
    """The text for a picture: the template itself, or one of the list that it names; without a keyword one that says
    the class.

    Which one is decided by the picture's bytes alone, so that it stays when pictures come and go. known: claims that
    are true of the picture; where there are texts with such claims, one of these is taken. Raises UserError.
    """
    name = kind_of(class_word) if template == AUTO else template
    if name not in LISTS:
        if re.fullmatch(r"\w+", template):
            raise UserError(f"no list of templates {template!r}; there are {', '.join(LISTS)} and {AUTO}")
        return template
    fitting = [each for each in LISTS[name] if each.claims <= known and (keyword or "{class}" in each.text)]
    if not fitting:
        return "{class}"
    best = [each for each in fitting if each.claims] or fitting
    number = int.from_bytes(hashlib.sha256(f"template {sha256}".encode()).digest()[:8], "big")
    return best[number % len(best)].text
