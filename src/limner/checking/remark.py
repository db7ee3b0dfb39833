"""What is said of a set of pictures."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Remark:
    """Something about the set. kind: what it is about. sentence: a whole one, which says what to do.

    level: fault, the training will suffer from it; note, good to know. names: of the pictures that it is about, where
    they are few.
    """

    kind: str
    level: str
    sentence: str
    names: tuple[str, ...] = ()
