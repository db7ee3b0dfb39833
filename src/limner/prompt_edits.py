"""Timed edits in a prompt: `[from:to:when]`, `[to:when]`, `[from::when]` and `[a|b|c]`, as in AUTOMATIC1111 1.10.

The webui's grammar is ambiguous, since any bracket may also be plain text; its general parser then settles what was
meant. Here that choice is made outright: a bracket means something if it can, but for a timed edit that an even number
of stray brackets and colons follows at once, as in `[a:b:0.5]::`, which that parser takes for text (and one that an odd
number follows, for an edit). Both agree but for prompts in which several stray brackets meet in other ways.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from limner.errors import UserError

DEEPEST = 100  # timed edits inside timed edits
TOKEN = re.compile(r"(?P<text>(?:[^\\\[\]():|]|\\.)+)|[\[\]():|]")
WHEN = re.compile(r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)\s*")


@dataclass(frozen=True)
class Span:
    """The steps 1..steps for which a prompt is read. before: those of an earlier pass, which whole numbers count on."""

    steps: int
    before: int = 0


@dataclass(frozen=True)
class Edit:
    """`[before:after:when]`. as_text: what it is if it is taken for text."""

    before: "list[Item]"
    after: "list[Item]"
    when: str
    depth: int
    as_text: "list[Item]"

    def choose(self, step: int, span: "Span") -> "list[Item]":
        return self.before if step <= self.last_step(span) else self.after

    def last_step(self, span: "Span") -> int:
        """The last step of `before`: a number with a point is a share of all steps, of a second pass from 1 to 2."""
        if "." in self.when:
            last = (float(self.when) - bool(span.before)) * span.steps
        else:
            last = float(self.when) - span.before
        return int(min(span.steps, last))


@dataclass(frozen=True)
class Alternation:
    """`[a|b|c]`."""

    options: "list[list[Item]]"
    depth: int

    def choose(self, step: int, span: "Span") -> "list[Item]":
        return self.options[(step - 1) % len(self.options)]


Item = str | Edit | Alternation


class Stray(str):
    """A bracket or colon outside of all that means something."""


class Frame:
    """An open bracket, and what has stood behind it so far, split at `:` and `|`."""

    def __init__(self, bracket: str) -> None:
        self.bracket = bracket
        self.parts: list[list[Item]] = [[]]
        self.separators: list[str] = []

    def close(self) -> list[Item] | None:
        """What the bracket means, now that its partner came; None if it means nothing."""
        kinds = set(self.separators)
        if self.bracket == "(":
            return ["(", *self.literal(), ")"] if len(self.separators) <= 1 and "|" not in kinds else None
        if not kinds:
            return ["[", *self.parts[0], "]"]
        depth = 1 + max((item.depth for part in self.parts for item in part if not isinstance(item, str)), default=0)
        if depth > DEEPEST:
            raise UserError(f"the prompt nests more than {DEEPEST} edits in one another; write it flatter")
        if kinds == {"|"}:
            return [Alternation(self.parts, depth)]
        *texts, when = self.parts
        number = WHEN.fullmatch("".join(item if isinstance(item, str) else "[" for item in when))
        if number is None or kinds != {":"} or len(texts) > 2:
            return None
        text: list[Item] = ["[", *self.literal(), "]"]
        return [Edit([] if len(texts) == 1 else texts[0], texts[-1], number[1], depth, text)]

    def literal(self) -> list[Item]:
        """The contents with their separators as text."""
        items = list(self.parts[0])
        for separator, part in zip(self.separators, self.parts[1:], strict=True):
            items += [separator, *part]
        return items


def parse_edits(text: str) -> list[Item] | None:
    """Texts, edits and alternations; None if the whole prompt is plain text because a `|` or backslash stands loose.

    A bracket that means something holds only brackets that do. So one that is never closed, or that closes on
    something meaningless, turns every bracket still open around it into text.
    """
    frames = [Frame("")]
    position = 0
    for match in TOKEN.finditer(text):
        if match.start() != position:
            return None
        position = match.end()
        token, frame = match[0], frames[-1]
        if match["text"]:
            frame.parts[-1].append(token)
        elif token in "([":
            frames.append(Frame(token))
        elif token in ":|":
            frame.separators.append(token)
            frame.parts.append([])
        else:
            matches = frame.bracket + token in ("()", "[]")
            items = frame.close() if matches else None
            if items is None:
                _dissolve(frames)
                items = [Stray(token)]
            else:
                frames.pop()
            frames[-1].parts[-1] += items
    _dissolve(frames)
    if position != len(text) or "|" in frames[0].separators:
        return None
    frames[0].separators = [Stray(separator) for separator in frames[0].separators]
    return list(_without_crowded(frames[0].literal()))


def _without_crowded(items: list[Item]) -> Iterator[Item]:
    """The items, with the edits as text that an even number of stray marks follows at once."""
    strays = 0  # in a row, behind the item
    kept: list[list[Item]] = []
    for item in reversed(items):
        is_text = isinstance(item, Edit) and strays > 0 and strays % 2 == 0
        kept.append(item.as_text if is_text and isinstance(item, Edit) else [item])
        strays = strays + 1 if isinstance(item, Stray) else int(is_text)  # its first bracket is a stray one then
    for each in reversed(kept):
        yield from each


def _dissolve(frames: list[Frame]) -> None:
    """Make every open bracket text of the outermost frame."""
    outer = frames[0]
    for frame in frames[1:]:
        outer.parts[-1].append(Stray(frame.bracket))
        outer.parts[-1] += frame.parts[0]
        outer.separators += frame.separators
        outer.parts += frame.parts[1:]
    del frames[1:]


def timeline(text: str, steps: int, before: int = 0) -> list[tuple[int, str]]:
    """[(last step, text)], ascending: what the prompt says up to which step, of 1..steps. before: of a pass before."""
    items = parse_edits(text)
    if items is None:
        return [(steps, text)]
    span = Span(steps, before)
    ends = {steps, *_ends(items, span)}
    return [(end, _text_at(items, end, span)) for end in sorted(ends)]


def entry_at(ends: list[int], call: int) -> int:
    """Index of the timeline's entry for the network's call number `call`, counted from 0.

    The webui compares this zero-based count with the one-based last steps, so that `[a:b:3]` shows `a` four times.
    """
    return next((index for index, end in enumerate(ends) if call <= end), 0)


def _ends(items: list[Item], span: Span) -> set[int]:
    ends: set[int] = set()
    for item in items:
        if isinstance(item, Edit):
            ends |= _ends(item.before, span) | _ends(item.after, span)
            ends |= {item.last_step(span)} if item.last_step(span) >= 1 else set()
        elif isinstance(item, Alternation):
            ends |= set(range(1, span.steps + 1))
    return ends


def _text_at(items: list[Item], step: int, span: Span) -> str:
    texts = (item if isinstance(item, str) else _text_at(item.choose(step, span), step, span) for item in items)
    return "".join(texts)
