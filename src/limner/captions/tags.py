"""Captions as tags, split at commas: taken apart, put together, and without those that only name the subject."""

from collections.abc import Iterable

from limner.data.caption import says
from limner.data.templates import kind_of

# What taggers call a person, by whom it may be; Danbooru's words.
NAMES = {
    "woman": {"1girl", "girl", "woman", "female", "lady", "person"},
    "man": {"1boy", "boy", "man", "male", "guy", "person"},
}
ALIKE = {"girl": "woman", "lady": "woman", "female": "woman", "boy": "man", "guy": "man", "male": "man"}


def split(text: str) -> list[str]:
    """The tags of a text, without blanks around them and without empty ones."""
    return [tag for tag in (part.strip() for part in text.split(",")) if tag]


def join(tags: Iterable[str]) -> str:
    """Tags as a caption, each once, whatever its case; the first stays."""
    first: dict[str, str] = {}
    for tag in tags:
        first.setdefault(tag.lower(), tag)
    return ", ".join(first.values())


def prune(text: str, unwanted: Iterable[str], keyword: str) -> str:
    """A caption without some tags, in any case; never without one that says the keyword. A text that has none of them
    stays as it is, letter for letter."""
    names = {tag.lower() for tag in unwanted}
    kept = [tag for tag in split(text) if tag.lower() not in names or (keyword and says(tag, keyword))]
    return text if len(kept) == len(split(text)) else ", ".join(kept)


def subject_names(class_word: str) -> set[str]:
    """Tags that say no more than the class does, in small letters: "1girl" of a woman, "dog" of a dog."""
    words = class_word.lower().split()
    if not words:
        return set()
    own = {class_word.lower(), words[-1]}
    if kind_of(class_word) == "person":
        return own | NAMES.get(ALIKE.get(words[-1], words[-1]), {"person"})
    return own | ({"animal"} if kind_of(class_word) == "animal" else set())
