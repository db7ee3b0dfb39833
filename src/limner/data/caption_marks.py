"""What other trainers mean by marks in captions, what becomes of them here, and the sentences that say so.

ai-toolkit writes [trigger] and [name] for the keyword; sd-scripts divides captions by ||| (keep_tokens_separator) and
;;; (secondary_separator) and, with enable_wildcard, chooses among {a|b} and among the lines of a file; the webui's
extension "dynamic prompts" has {a|b} and __file__ too. Of a caption with alternatives the first is trained on.
"""

import re

from limner.inventory import named

KEYWORD_MARK = re.compile(
    r"\[\s*(?:trigger(?:[ _]?word)?|name|keyword)\s*\]|\{\s*(?:trigger|keyword)\s*\}", re.IGNORECASE
)
SEPARATOR = re.compile(r"\s*(?:,\s*)?(?:\|\|\||;;;)\s*(?:,\s*)?")
ALTERNATIVES = re.compile(r"\{([^{}]*\|[^{}]*)\}")
WEIGHT = re.compile(r"\s*\d*\.?\d+::")
WILDCARD_FILE = re.compile(r"(?<!\w)__\w[\w/*-]*__(?!\w)")
NETWORK = re.compile(r"\s*,?\s*<(?:lora|lyco|hypernet):[^<>]*>", re.IGNORECASE)

# What is said of captions that have a mark, after "3 captions have": the mark, and what is done.
SENTENCES = {
    KEYWORD_MARK: ("[trigger] or [name]", "the keyword takes its place"),
    SEPARATOR: (
        "||| or ;;; as separators",
        "they are read as commas and keep no tag in its place; keep_tags says how many tags stay in front",
    ),
    ALTERNATIVES: ("alternatives such as {red|blue}", "the first of each is taken"),
    WILDCARD_FILE: ("a wildcard such as __animals__", "Limner has no lists for it, and trains on it letter for letter"),
    NETWORK: ("tags such as <lora:name:1>", "they are left out, for they describe no image"),
}
SEVERAL_LINES = (
    "several lines",
    "they are read as one text; if they are meant as alternatives, keep one line in each file",
)


def put_keyword(text: str, keyword: str) -> str:
    """A caption with the keyword where [trigger] or [name] stands."""
    return KEYWORD_MARK.sub(lambda _: keyword, text)


def plain_caption(text: str, keyword: str, class_word: str = "") -> str:
    """A caption as it is trained on: without marks that only other trainers understand, on one line.

    keyword: "" for an image of the class, which is called by the class instead.
    """
    text = NETWORK.sub("", put_keyword(text, keyword or class_word))
    if SEPARATOR.search(text):
        text = SEPARATOR.sub(", ", text).strip(", ")
    while (one := ALTERNATIVES.search(text)) is not None:
        text = text[: one.start()] + _first(one[1]) + text[one.end() :]
    return " ".join(text.split())


def _first(alternatives: str) -> str:
    """ "0.5::red|blue" -> "red"; "2$$red|blue" -> "red"."""
    return WEIGHT.sub("", alternatives.split("$$")[-1].split("|")[0], count=1).strip()


class CaptionMarks:
    """Collects which captions have which marks."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], list[str]] = {}

    def see(self, name: str, text: str | None, lines: int = 1) -> None:
        """Take in the caption of an image. name: of its file. lines: how many it stands on there."""
        if lines > 1:
            self._names.setdefault(SEVERAL_LINES, []).append(name)
        for mark, sentence in SENTENCES.items():
            if text and mark.search(text):
                self._names.setdefault(sentence, []).append(name)

    def remarks(self) -> list[str]:
        """A sentence for each kind of mark."""
        return [
            f"{len(names)} caption{' has' if len(names) == 1 else 's have'} {mark} ({named(names)}): {done}"
            for (mark, done), names in self._names.items()
        ]
