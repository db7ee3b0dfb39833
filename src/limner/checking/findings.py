"""What is said of a picture: findings, each of a kind, with how grave it is and what to do."""

from dataclasses import dataclass
from typing import Literal

Level = Literal["unusable", "fault", "note"]


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
