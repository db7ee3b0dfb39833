"""What the captions of a set have in common, and what they lack."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from limner.captions.tags import split
from limner.data.caption import says

MOST_TOKENS = 75  # that a base's text encoder reads at once, beside the two marks


@dataclass(frozen=True)
class Statistics:
    """Of a set's captions. without, lacking, long: names of pictures without one, whose caption lacks the keyword, and
    whose caption has more than MOST_TOKENS, with their number. tags, texts: the commonest first, with their number."""

    pictures: int
    without: list[str]
    lacking: list[str]
    long: list[tuple[str, int]]
    tags: list[tuple[str, int]]
    texts: list[tuple[str, int]]
    most_tokens: int


def count(
    captions: Mapping[str, str | None], keywords: Mapping[str, str], tokenize: Callable[[str], int]
) -> Statistics:
    """captions: by picture, None where there is none. keywords: that each should have, "" for none. tokenize: the
    number of tokens of a text."""
    tags: Counter[str] = Counter()
    texts: Counter[str] = Counter()
    for text in filter(None, captions.values()):
        tags.update({tag.lower(): 1 for tag in split(text)})
        texts[text] += 1
    lengths = {text: tokenize(text) for text in texts}
    told = {name: text for name, text in captions.items() if text}
    return Statistics(
        pictures=len(captions),
        without=[name for name, text in captions.items() if not text],
        lacking=[name for name, text in told.items() if keywords[name] and not says(text, keywords[name])],
        long=[(name, lengths[text]) for name, text in told.items() if lengths[text] > MOST_TOKENS],
        tags=tags.most_common(),
        texts=[(text, number) for text, number in texts.most_common() if number > 1],
        most_tokens=max(lengths.values(), default=0),
    )
