"""How large a method's file will be, from the shapes in a base's header: nothing is loaded."""

import json
import math
import re
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

Shapes = dict[str, tuple[int, ...]]

RANK = 16  # of the LoRA family, where nobody says another
VECTORS = 4  # of an embedding
HALF, FULL = 2, 4  # bytes of a number
MOST_HEADER = 100 << 20  # bytes, as safetensors itself allows
LINE = 150  # bytes of a header for each tensor
SAID = 3000  # bytes of what a file says of its training
# Layers of the UNet's transformers, as diffusers and as the original files name them.
ADAPTED = re.compile(
    r"(attentions|input_blocks|middle_block|output_blocks)\..*(transformer_blocks\..*|proj_(in|out))\.weight"
)
WORDS = re.compile(r"token_embedding\.weight$")
NOT_WRITTEN = re.compile(r"^(model_ema\.|.*position_ids$)")


def file_bytes(shapes: Shapes, methods: Sequence[str]) -> int | None:
    """Of what a training of these methods together writes; None where the shapes do not tell."""
    total = SAID
    for method in methods:
        found = _of(shapes, method)
        if not found:
            return None
        total += found
    return total


def _of(shapes: Shapes, method: str) -> int | None:
    if method == "full":
        written = [shape for name, shape in shapes.items() if not NOT_WRITTEN.match(name)]
        return HALF * sum(map(math.prod, written)) + LINE * len(written)
    if method == "embedding":
        widths = [shape[1] for name, shape in shapes.items() if WORDS.search(name) and len(shape) == 2]
        return FULL * VECTORS * sum(widths) + LINE if widths else None
    if method == "lora":
        layers = [shape for name, shape in shapes.items() if ADAPTED.search(name) and len(shape) >= 2]
        numbers = sum(RANK * (shape[0] + math.prod(shape[1:])) + 1 for shape in layers)
        return HALF * numbers + 3 * LINE * len(layers) if layers else None
    return None


def shapes_of(base: Path) -> Shapes | None:
    """The shapes of all tensors of a checkpoint, or of a folder in diffusers' layout; None if it has no such header."""
    files = [base] if base.is_file() else sorted(base.rglob("*.safetensors"))
    found: Shapes = {}
    try:
        for file in files:
            status = file.stat()
            prefix = "" if file == base else f"{file.parent.name}."
            found |= {prefix + name: shape for name, shape in _header(file, status.st_size, status.st_mtime_ns).items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return found or None


@lru_cache(maxsize=16)
def _header(file: Path, size: int, changed: int) -> Shapes:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if length > min(size, MOST_HEADER):
            raise ValueError("no safetensors")
        entries = json.loads(stream.read(length))
    return {name: tuple(entry["shape"]) for name, entry in entries.items() if name != "__metadata__"}
