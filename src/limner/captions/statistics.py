"""What the captions of a set have in common, and what they lack."""

import functools
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from limner.captions.tags import split
from limner.data.caption import says
from limner.texts import display

MOST_TOKENS = 75  # that a base's text encoder reads at once, beside the two marks
NAMED = 5  # pictures in a sentence


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


@functools.cache
def _tokenizer() -> Any:
    from transformers import CLIPTokenizerFast

    from limner.base.pocket import FOLDER

    return CLIPTokenizerFast.from_pretrained(FOLDER / "tokenizer")


def tokens_of(text: str) -> int:
    """The number of CLIP's tokens in a text, without marks: every base reads captions with that vocabulary."""
    return len(_tokenizer()(text, add_special_tokens=False, verbose=False).input_ids)


def is_long(text: str) -> bool:
    """Whether a caption is longer than a base reads at once. No token is shorter than a byte."""
    return len(text.encode()) > MOST_TOKENS and tokens_of(text) > MOST_TOKENS


def long_sentence(names: list[str]) -> str:
    """What a person should know of pictures whose captions are long."""
    shown = ", ".join(map(display, names[:NAMED])) + (", ..." if len(names) > NAMED else "")
    one = len(names) == 1
    return (
        f"{len(names)} caption{' has' if one else 's have'} more than {MOST_TOKENS} tokens ({shown}): Limner reads the "
        "rest as a second piece, other trainers mostly cut it off; say what matters first"
    )


def count(captions: Mapping[str, str | None], keywords: Mapping[str, str]) -> Statistics:
    """captions: by picture, None where there is none. keywords: that each should have, "" for none."""
    tags: Counter[str] = Counter()
    texts: Counter[str] = Counter()
    for text in filter(None, captions.values()):
        tags.update({tag.lower(): 1 for tag in split(text)})
        texts[text] += 1
    lengths = {text: tokens_of(text) for text in texts}
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
