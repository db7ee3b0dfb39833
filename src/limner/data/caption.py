"""What each picture is called in training."""

import random
import re
from dataclasses import dataclass, replace
from pathlib import Path

from limner.config.captions import Place
from limner.data.caption_marks import plain_caption, put_keyword
from limner.data.folder import Picture
from limner.data.templates import choose
from limner.errors import UserError

TEMPLATE = "{keyword} {class}"


def caption_for(
    picture: Picture,
    keyword: str,
    class_word: str = "",
    template: str = TEMPLATE,
    prefix: str = "",
    suffix: str = "",
) -> str:
    """The picture's own caption, or else the template with {keyword} and {class} filled in, or one of a list of them;
    between a prefix and a suffix.

    The keyword always occurs, and is not put in where the whole has it as a whole word in any case (so a caption can
    say "a fox, zvq style", and a prefix "zvq dog, "); otherwise it goes in front of the caption, "keyword, text". No
    keyword (class images) adds nothing. Raises UserError for an unknown {field} of the template.
    """
    around = [plain_caption(text, keyword, class_word) for text in (prefix, suffix)]
    known = bool(keyword) and any(says(text, keyword) for text in around)
    if picture.caption is not None:
        text = plain_caption(picture.caption, keyword, class_word)
    else:
        said = "" if known else keyword  # the keyword and the class are not said twice
        text = fill(choose(template, picture.sha256, said, class_word), said, class_word)
        text = "" if known and any(says(each, text) for each in around) else text
    if not known:
        text = place(text, keyword)
    return _between(around[0], text, around[1])


def _between(prefix: str, text: str, suffix: str) -> str:
    """Three texts as one: with blanks between them, and no comma that has nothing before or behind it."""
    if not prefix and not suffix:
        return text
    whole = " ".join(each for each in (prefix, text, suffix) if each)
    return re.sub(r"\s*,(?:\s*,)+", ",", re.sub(r"\s+,", ",", whole)).strip(", ")


def class_caption(class_word: str, template: str) -> str:
    """What pictures of a class are called: by default what the subject's are, without the keyword."""
    return caption_for(Picture(Path(), "", 1, 1), "", class_word, template)


def place(text: str, keyword: str, where: Place = "front", class_word: str = "") -> str:
    """A text with the keyword in it: as it is if it says it as a whole word, in any case.

    Otherwise it goes in front or at the back, as a tag of its own, or before the first class word; to the front if
    the text has none. [trigger] and [name] are the keyword.
    """
    text = put_keyword(text, keyword) if keyword else text
    if not keyword or says(text, keyword):
        return text
    if not text:
        return keyword
    if where == "class" and class_word and (found := says(text, class_word)):
        return f"{text[: found.start()]}{keyword} {text[found.start() :]}"
    return f"{text}, {keyword}" if where == "back" else f"{keyword}, {text}"


def fill(template: str, keyword: str, class_word: str) -> str:
    values = {"keyword": keyword, "class": class_word}
    for field in re.findall(r"\{([^{}]*)\}", template):
        if field not in values:
            raise UserError(
                f"the caption template {template!r} has an unknown {{{field}}}; use {{keyword}} and {{class}}"
            )
    return " ".join(re.sub(r"\{(\w+)\}", lambda match: values[match[1]], template).split())


@dataclass(frozen=True)
class Tags:
    """How captions of tags, separated by commas, change from step to step, so that their order is not learned.

    shuffle: in random order. keep: the first so many stay where they are. dropout: share of the others left out.
    keyword: the tag that says it is always there.
    """

    shuffle: bool = False
    keep: int = 0
    dropout: float = 0.0
    keyword: str = ""

    @property
    def vary(self) -> bool:
        """Whether captions change at all."""
        return self.shuffle or self.dropout > 0

    def about(self, keyword: str) -> "Tags":
        return replace(self, keyword=keyword)

    def apply(self, caption: str, rng: random.Random) -> str:
        """A caption as one step sees it."""
        tags = [tag for tag in (part.strip() for part in caption.split(",")) if tag]
        kept, others = tags[: self.keep], tags[self.keep :]
        if self.shuffle:
            rng.shuffle(others)
        others = [tag for tag in others if rng.random() >= self.dropout or self._keeps(tag)]
        return ", ".join(kept + others)

    def _keeps(self, tag: str) -> bool:
        return bool(self.keyword) and says(tag, self.keyword) is not None


def says(text: str, words: str) -> re.Match[str] | None:
    """Where words stand in a text as whole ones, in any case."""
    return re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE)
