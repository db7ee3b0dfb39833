"""Whether a keyword can carry a new meaning, as far as the vocabulary tells, and rare words that can."""

import random
import re
from collections.abc import Callable, Mapping

# CLIP's byte-pair vocabulary: 512 single bytes, then merges by falling frequency. Up to about here a single token is
# a word that the base has seen often; beyond stand rare ones, such as the customary "sks" (48136) and "ohwx" (47993).
COMMON_BELOW = 47_500
WORD_END = "</w>"  # how the vocabulary marks a token that ends a word
MARKS_OF_PROMPTS = "()[]<>{}:|\\,"
CONSONANTS = "bdfghjklmnpqrtvwxz"
VOWELS = set("aeiouy")
# Rare words that are known to mean something: what they draw with Stable Diffusion, and who says so.
TRAPS = {"sks": ("rifles", "https://github.com/XavierXiao/Dreambooth-Stable-Diffusion/issues/71")}
# Short for what nobody wants to type or to publish; a proposal holds none of them.
OFFENSIVE = ("fk", "fck", "fgt", "kkk", "wtf", "sht", "dck", "cnt", "ngg", "ngr", "nzi", "prn", "bdsm", "xxx", "ss")

Tokenize = Callable[[str], list[int]]


def keyword_problem(keyword: str, tokenize: Tokenize) -> str | None:
    """A warning in one sentence, with three better keywords, or None if the keyword will do.

    `tokenize`: text -> ids without marks, as `BaseModel.tokenize`. A keyword is poor if all of its words are single
    frequent tokens, since training then fights their old meaning, or if prompts would read its characters as syntax.
    """
    problem = poor(keyword, tokenize)
    if problem is None:
        return None
    first, second, third = proposals(keyword, tokenize)
    return f"{problem}; better take a rare one, such as {first!r}, {second!r} or {third!r}"


def poor(keyword: str, tokenize: Tokenize) -> str | None:
    """What is wrong with a keyword, to be continued, or None."""
    words = words_of(keyword)
    marks = sorted(set(keyword) & set(MARKS_OF_PROMPTS))
    if not words:
        return f"the keyword {keyword!r} has no letters"
    if marks:
        return f"the keyword {keyword!r} contains {' '.join(marks)}, which prompts read as syntax"
    if all(_is_common(word, tokenize) for word in words):
        kind = "is a common word" if len(words) == 1 else "is made of common words"
        return f"the keyword {keyword!r} {kind}, whose old meaning would mix with the new one"
    return None


def words_of(keyword: str) -> list[str]:
    return [word for word in re.split(r"[\W_]+", keyword) if word]


def proposals(keyword: str, tokenize: Tokenize, count: int = 3) -> list[str]:
    """Rare strings of four consonants, always the same for a keyword and tokenizer.

    Each is two tokens, the rarest of a few hundred tries: short enough to type, and unlike a single token never the
    name or abbreviation of something.
    """
    rng = random.Random(f"limner keyword {keyword}")
    candidates = ["".join(rng.sample(CONSONANTS, 4)) for _ in range(500)]

    def rarity(candidate: str) -> int:
        ids = tokenize(candidate)
        return min(ids) if len(ids) == 2 else -1

    fine = [each for each in dict.fromkeys(candidates) if _is_decent(each)]
    return sorted(fine, key=rarity, reverse=True)[:count]


def rare_tokens(vocabulary: Mapping[str, int], keyword: str, count: int) -> list[str]:
    """Single rare tokens of two to four letters without a vowel, which no name and hardly a word is; always the same
    for a keyword and vocabulary (token -> id)."""
    whole = {
        token.removesuffix(WORD_END): id
        for token, id in vocabulary.items()
        if token.endswith(WORD_END) and id >= COMMON_BELOW
    }
    fine = [
        word
        for word in sorted(whole)
        if 2 <= len(word) <= 4 and word.isascii() and word.isalpha() and not VOWELS & set(word)
    ]
    fine = [word for word in fine if _is_decent(word) and word not in TRAPS]
    return random.Random(f"limner token {keyword}").sample(fine, min(count, len(fine)))


def frequent_words(vocabulary: Mapping[str, int], below: int) -> list[str]:
    """Whole words of at least three letters with an id below that, the most frequent first."""
    words = {token.removesuffix(WORD_END): id for token, id in vocabulary.items() if token.endswith(WORD_END)}
    fine = [word for word, id in words.items() if id < below and len(word) > 2 and word.isascii() and word.isalpha()]
    return sorted(fine, key=words.__getitem__)


def _is_decent(word: str) -> bool:
    return not any(part in word for part in OFFENSIVE)


def _is_common(word: str, tokenize: Tokenize) -> bool:
    ids = tokenize(word)
    return len(ids) == 1 and ids[0] < COMMON_BELOW
