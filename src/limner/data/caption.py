"""What each picture is called in training, and whether the chosen keyword can carry a new meaning."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from limner.config.captions import Place
from limner.data.folder import Picture
from limner.data.templates import choose
from limner.errors import UserError

TEMPLATE = "{keyword} {class}"

# CLIP's byte-pair vocabulary: 512 single bytes, then merges by falling frequency. Up to about here a single token is
# a word that the base has seen often; beyond stand rare ones, such as the customary "sks" (48136) and "ohwx" (47993).
COMMON_BELOW = 47_500
MARKS_OF_PROMPTS = "()[]<>{}:|\\,"
CONSONANTS = "bdfghjklmnpqrtvwxz"


def caption_for(picture: Picture, keyword: str, class_word: str = "", template: str = TEMPLATE) -> str:
    """The picture's own caption, or else the template with {keyword} and {class} filled in, or one of a list of them.

    The keyword always occurs: where the text has it as a whole word in any case, it stays where it is (so a caption
    can say "a fox, zvq style"), otherwise it goes in front, "keyword, text". No keyword (class images) adds nothing.
    Raises UserError for an unknown {field} of the template.
    """
    if picture.caption is None:
        template = choose(template, picture.sha256, keyword, class_word)
    text = fill(template, keyword, class_word) if picture.caption is None else picture.caption
    return place(text, keyword)


def place(text: str, keyword: str, where: Place = "front", class_word: str = "") -> str:
    """A text with the keyword in it: as it is if it says it as a whole word, in any case.

    Otherwise it goes in front or at the back, as a tag of its own, or before the first class word; to the front if
    the text has none.
    """
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


def keyword_problem(keyword: str, tokenize: Callable[[str], list[int]]) -> str | None:
    """A warning in one sentence, with three better keywords, or None if the keyword will do.

    `tokenize`: text -> ids without marks, as `BaseModel.tokenize`. A keyword is poor if all of its words are single
    frequent tokens, since training then fights their old meaning, or if prompts would read its characters as syntax.
    """
    words = [word for word in re.split(r"[\W_]+", keyword) if word]
    marks = sorted(set(keyword) & set(MARKS_OF_PROMPTS))
    if not words:
        problem = f"the keyword {keyword!r} has no letters"
    elif marks:
        problem = f"the keyword {keyword!r} contains {' '.join(marks)}, which prompts read as syntax"
    elif all(_is_common(word, tokenize) for word in words):
        kind = "is a common word" if len(words) == 1 else "is made of common words"
        problem = f"the keyword {keyword!r} {kind}, whose old meaning would mix with the new one"
    else:
        return None
    first, second, third = proposals(keyword, tokenize)
    return f"{problem}; better take a rare one, such as {first!r}, {second!r} or {third!r}"


def proposals(keyword: str, tokenize: Callable[[str], list[int]], count: int = 3) -> list[str]:
    """Rare strings of four consonants, always the same for a keyword and tokenizer.

    Each is two tokens, the rarest of a few hundred tries: short enough to type, and unlike a single token never the
    name or abbreviation of something.
    """
    rng = random.Random(f"limner keyword {keyword}")
    candidates = ["".join(rng.sample(CONSONANTS, 4)) for _ in range(500)]

    def rarity(candidate: str) -> int:
        ids = tokenize(candidate)
        return min(ids) if len(ids) == 2 else -1

    return sorted(dict.fromkeys(candidates), key=rarity, reverse=True)[:count]


def _is_common(word: str, tokenize: Callable[[str], list[int]]) -> bool:
    ids = tokenize(word)
    return len(ids) == 1 and ids[0] < COMMON_BELOW
