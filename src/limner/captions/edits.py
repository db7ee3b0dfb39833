"""Edits of captions in bulk: what each text becomes, without a look at any other."""

import re
from dataclasses import dataclass

from limner.captions.tags import prune, split
from limner.data.caption import place, says
from limner.errors import UserError


@dataclass(frozen=True)
class Edits:
    """In this order: words replaced, tags left out, tags added, texts put in front and behind.

    replaced: (words, other words). removed, added: tags. keyword: is put back if it gets lost.
    """

    replaced: tuple[tuple[str, str], ...] = ()
    removed: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    prefix: str = ""
    suffix: str = ""

    @property
    def adds(self) -> bool:
        """Whether a text without anything in it would get something."""
        return bool(self.added or self.prefix or self.suffix)

    def apply(self, text: str, keyword: str = "") -> str:
        """The text as it is to be; one that is so already stays letter for letter, so that nothing is done twice."""
        had_keyword = bool(keyword and says(text, keyword))
        for words, others in self.replaced:
            text = _replace(text, words, others)
        text = prune(text, self.removed, "")
        there = {tag.lower() for tag in split(text)}
        new = [tag for tag in self.added if tag.lower() not in there]
        text = ", ".join([text, *new] if text else new)
        if self.prefix and not text.startswith(self.prefix):
            text = self.prefix + text
        if self.suffix and not text.endswith(self.suffix):
            text = text + self.suffix
        return place(text, keyword) if had_keyword else text


def read_replacements(texts: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """("A=B", ...) -> (("A", "B"), ...). Raises UserError."""
    pairs = []
    for text in texts:
        words, equals, others = text.partition("=")
        if not equals or not words.strip():
            raise UserError(f"--replace {text} will not do: write it as A=B, as in --replace 'puppy=dog'")
        pairs.append((words.strip(), others.strip()))
    return tuple(pairs)


def _replace(text: str, words: str, others: str) -> str:
    """Whole words by others, in any case; where nothing is left between commas, the comma goes too."""
    found = re.sub(rf"(?<!\w){re.escape(words)}(?!\w)", lambda _: others, text, flags=re.IGNORECASE)
    if found == text or others:
        return found
    return ", ".join(split(" ".join(found.split())))
