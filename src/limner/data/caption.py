"""What each picture is called in training."""

import random
import re
from dataclasses import dataclass, replace

from limner.data.folder import Picture
from limner.errors import UserError

TEMPLATE = "{keyword} {class}"


def caption_for(picture: Picture, keyword: str, class_word: str = "", template: str = TEMPLATE) -> str:
    """The picture's own caption, or else the template with {keyword} and {class} filled in.

    The keyword always occurs: where the text has it as a whole word in any case, it stays where it is (so a caption
    can say "a fox, zvq style"), otherwise it goes in front, "keyword, text". No keyword (class images) adds nothing.
    Raises UserError for an unknown {field} of the template.
    """
    text = picture.caption if picture.caption is not None else _fill(template, keyword, class_word)
    if not keyword or _says(text, keyword):
        return text
    return f"{keyword}, {text}" if text else keyword


def _fill(template: str, keyword: str, class_word: str) -> str:
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
        others = [tag for tag in others if rng.random() >= self.dropout or self._says_keyword(tag)]
        return ", ".join(kept + others)

    def _says_keyword(self, tag: str) -> bool:
        return bool(self.keyword) and _says(tag, self.keyword)


def _says(text: str, keyword: str) -> bool:
    """Whether the keyword is a whole word of the text, in any case."""
    return re.search(rf"(?<!\w){re.escape(keyword)}(?!\w)", text, re.IGNORECASE) is not None
