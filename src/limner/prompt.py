"""The webui's prompt grammar: LoRA tags, AND, emphasis, and chunks of 75 tokens.

The order in which a prompt is taken apart is AUTOMATIC1111's (1.10): `<lora:...>` tags leave the text, AND splits it,
timed edits (edits.py) turn each part into a timeline of texts, and emphasis is read from each of these texts.
Nothing that brackets do wrong is an error: what has no meaning is text.
"""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from limner.config import Usual
from limner.errors import UserError
from limner.inventory import UNKNOWN, Inventory
from limner.texts import display

CHUNK = 75  # tokens of one chunk between its start and end marks
COMMA_REACH = 20  # a full chunk breaks after a comma that is at most this many tokens back

TAG = re.compile(r"<(\w+):([^>]+)>")
# What was meant as a tag and is none, as it has no end, no name or spaces where none may be.
NEARLY_A_TAG = re.compile(r"<\s*(?:lora|lyco|lycoris|hypernet)\b[^<>]{0,100}>?", re.IGNORECASE)
MOST_FIELDS = 4  # of a tag by position: name, strength of the text encoder, of the UNet, rank
NAMED_FIELDS = {"te": 1, "unet": 2, "dyn": 3}  # and the positions that they stand for
# Named parts that extensions of the webui act on.
_EXTENSIONS = {
    **dict.fromkeys(("lbw", "lbwe"), "Limner applies all blocks of a LoRA at the same strength"),
    **dict.fromkeys(("start", "stop", "step"), "Limner applies a LoRA at all steps"),
}
AND = re.compile(r"\bAND\b")
PART_WEIGHT = re.compile(r"(.*?)(?:\s*:\s*([-+]?(?:\d+\.?|\d*\.\d+)))?\s*", re.DOTALL)
BREAK = re.compile(r"\s*\bBREAK\b\s*")
EMPHASIS = re.compile(r"\\[()\[\]\\]?|:\s*(?P<weight>[+-]?[.\d]+)\s*\)|[()\[\]:]|[^\\()\[\]:]+")


STRENGTHS = Usual(-3, 3)


@dataclass(frozen=True)
class LoraTag:
    """`<lora:name:text_strength:unet_strength:rank>`; `rank` None takes the file's whole rank.

    not_applied: parts of the tag, as written, that change nothing; remarks: a sentence on each reason why.
    """

    name: str
    text_strength: float = 1.0
    unet_strength: float = 1.0
    rank: int | None = None
    not_applied: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    def questions(self) -> Iterator[str]:
        """A sentence for each strength that is far from what is usual."""
        for strength in dict.fromkeys((self.text_strength, self.unet_strength)):
            if not STRENGTHS.holds(strength):
                yield f"<lora:{self.name}:{strength:g}> is far from the usual {STRENGTHS}; check that you mean it"


@dataclass(frozen=True)
class Part:
    """One side of an AND, and how much it counts. A prompt without AND has one part."""

    text: str
    weight: float = 1.0


@dataclass(frozen=True)
class ParsedPrompt:
    """A prompt without its LoRA tags, split at AND. remarks: on what in it changes nothing, or is text by mistake."""

    loras: list[LoraTag]
    parts: list[Part]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fragment:
    """A run of text of one emphasis. The text BREAK of weight -1 ends a chunk."""

    text: str
    weight: float = 1.0

    @property
    def is_break(self) -> bool:
        return self.text == "BREAK" and self.weight == -1


@dataclass
class Chunk:
    """At most 75 token ids and as many emphasis weights, without start, end and padding."""

    ids: list[int] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


def parse_prompt(text: str) -> ParsedPrompt:
    """Take the LoRA tags out and split at AND. Raises UserError for a tag that Limner does not know or cannot read."""
    loras = [lora_tag(kind, arguments) for kind, arguments in TAG.findall(text)]
    plain = TAG.sub("", text)
    parts = []
    for piece in AND.split(plain):
        match = PART_WEIGHT.fullmatch(piece)
        assert match is not None  # the pattern takes any text
        parts.append(Part(match[1], float(match[2]) if match[2] else 1.0))
    remarks = [remark for tag in loras for remark in tag.remarks]
    remarks += [
        f"the prompt's {display(found)} is read as text, not as a tag; write it as <lora:name:1>"
        for found in NEARLY_A_TAG.findall(plain)
    ]
    return ParsedPrompt(loras, parts, tuple(dict.fromkeys(remarks)))


def remarks_on_negative(text: str) -> tuple[str, ...]:
    """On tags in a negative prompt, which the webui does not read there."""
    tags = [match[0] for match in TAG.finditer(text) if match[1].lower() in ("lora", "lyco", "hypernet")]
    return tuple(
        f"the negative prompt's {display(tag)} is read as text: LoRAs are taken from the prompt alone"
        for tag in dict.fromkeys([*tags, *NEARLY_A_TAG.findall(TAG.sub("", text))])
    )


def lora_tag(kind: str, arguments: str) -> LoraTag:
    """A tag's positional fields (name, text, unet, rank) and named ones (te=, unet=, dyn=); named ones win."""
    tag = f"<{kind}:{arguments}>"
    if kind == "hypernet":
        raise UserError(f"the prompt's {display(tag)} names a hypernetwork, which Limner cannot apply; leave it out")
    if kind not in ("lora", "lyco"):
        raise UserError(
            f"the prompt's {display(tag)} names a kind of network that Limner does not know; use <lora:name:strength>"
        )
    items = arguments.split(":")
    # each under a name of its own, for two parts may say the same
    labels = [item if items.count(item) == 1 else f"{item} as part {at}" for at, item in enumerate(items, 1)]
    inventory = Inventory(labels)
    named: dict[str, tuple[str, str]] = {}  # a named field's value and its label
    fields: list[tuple[str, str]] = []
    for item, label in zip(items, labels, strict=True):
        name, _, value = item.partition("=")
        if item.count("=") != 1:
            fields.append((item, label))
        elif (name := name.strip()) in NAMED_FIELDS:
            if name in named:
                inventory.leave(f"{name}= is given twice, and the last one counts", named[name][1])
            named[name] = value, label
        else:
            inventory.leave(_EXTENSIONS.get(name, UNKNOWN), label)
    inventory.leave("a tag has a name, two strengths and a rank", *(label for _, label in fields[MOST_FIELDS:]))

    def read(name: str) -> str | None:
        """A field's text, marked as used, by whichever way it is given."""
        by_position = fields[NAMED_FIELDS[name]] if len(fields) > NAMED_FIELDS[name] else None
        if name in named:
            if by_position is not None:
                inventory.leave(f"{name}= is given too, and counts", by_position[1])
            by_position = named[name]
        if by_position is None:
            return None
        inventory.use(by_position[1])
        return by_position[0]

    try:
        inventory.use(fields[0][1])
        text_text = read("te")
        text = 1.0 if text_text is None else float(text_text)
        unet_text = read("unet")
        unet = text if unet_text is None else float(unet_text)  # it follows the text encoder, wherever that was said
        rank_text = read("dyn")
        rank = None if rank_text is None else int(rank_text)
        if not (math.isfinite(text) and math.isfinite(unet) and fields[0][0].strip() and (rank is None or rank > 0)):
            raise ValueError
    except (ValueError, IndexError) as error:
        raise UserError(
            f"cannot read the prompt's {display(tag)}; write <lora:name:1> or <lora:name:0.8:0.6>"
        ) from error
    left = tuple(label for labels in inventory.left.values() for label in labels)
    remarks = inventory.remarks(f"the prompt's {tag}", "part", "parts")
    return LoraTag(fields[0][0], text, unet, rank, left, tuple(remarks))


def emphasis(text: str) -> list[Fragment]:
    """Fragments with their weights: `(x)` times 1.1, `[x]` divided by 1.1, `(x:1.3)`, nested ones multiplied."""
    texts: list[str] = []
    weights: list[float] = []
    opened: dict[str, list[int]] = {"(": [], "[": []}

    def scale(start: int, factor: float) -> None:
        weights[start:] = [weight * factor for weight in weights[start:]]

    def add(text: str, weight: float = 1.0) -> None:
        texts.append(text)
        weights.append(weight)

    for match in EMPHASIS.finditer(text):
        token = match[0]
        if token[0] == "\\":
            add(token[1:])
        elif token in opened:
            opened[token].append(len(texts))
        elif match["weight"] and opened["("]:
            scale(opened["("].pop(), _number(match["weight"], text))
        elif token == ")" and opened["("]:
            scale(opened["("].pop(), 1.1)
        elif token == "]" and opened["["]:
            scale(opened["["].pop(), 1 / 1.1)
        else:
            first, *rest = BREAK.split(token)
            add(first)
            for piece in rest:
                add("BREAK", -1.0)
                add(piece)
    for bracket, factor in (("(", 1.1), ("[", 1 / 1.1)):
        for start in opened[bracket]:
            scale(start, factor)
    return _merged(texts, weights)


def _merged(texts: list[str], weights: list[float]) -> list[Fragment]:
    """Neighbours of one weight as one fragment."""
    merged: list[Fragment] = []
    for text, weight in zip(texts, weights, strict=True):
        if merged and merged[-1].weight == weight:
            merged[-1] = Fragment(merged[-1].text + text, weight)
        else:
            merged.append(Fragment(text, weight))
    return merged or [Fragment("")]


def _number(digits: str, text: str) -> float:
    try:
        return float(digits)
    except ValueError as error:
        raise UserError(f"the prompt {text!r} has the emphasis {digits!r}, which is not a number") from error


def chunks(text: str, pieces: Callable[[str], list[list[int]]], comma: int) -> list[Chunk]:
    """The text's ids in chunks, at least one; `comma` is the id of a comma's token.

    pieces: text -> ids that must stay together, as `BaseModel.pieces`; a piece that does not fit begins a chunk.
    """
    done: list[Chunk] = []
    chunk = Chunk()
    last_comma: int | None = None  # its place in the current chunk
    for fragment in emphasis(text):
        if fragment.is_break:
            done.append(chunk)
            chunk, last_comma = Chunk(), None
            continue
        for piece in pieces(fragment.text):
            full = len(chunk.ids) == CHUNK
            if piece == [comma]:
                last_comma = len(chunk.ids)
            elif full and last_comma is not None and CHUNK - last_comma <= COMMA_REACH:
                cut = last_comma + 1
                done.append(Chunk(chunk.ids[:cut], chunk.weights[:cut]))
                chunk, last_comma = Chunk(chunk.ids[cut:], chunk.weights[cut:]), None
            if len(chunk.ids) + len(piece) > CHUNK:
                done.append(chunk)
                chunk, last_comma = Chunk(), None
            chunk.ids += piece
            chunk.weights += [fragment.weight] * len(piece)
    return [*done, chunk] if chunk.ids or not done else done
