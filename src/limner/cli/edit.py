"""The verbs that change finished files: each reads its settings, edits, and says what came of it."""

import time
from typing import TYPE_CHECKING, Any, TypeVar

from limner.cli.app import verb
from limner.cli.output import Output, duration, megabytes
from limner.config import MergeSettings, ResizeSettings

if TYPE_CHECKING:  # help loads no torch
    from limner.edit import Edit, Resized

T = TypeVar("T")


@verb(MergeSettings, "base", "out")
def merge(settings: MergeSettings, output: Output) -> dict:
    """Add several LoRAs up into one."""
    from limner.edit import merging

    began = time.monotonic()
    return _tell_lora(follow(merging(settings), output, "layer"), output, began)


@verb(ResizeSettings, "lora", "out")
def resize(settings: ResizeSettings, output: Output) -> dict:
    """Make a LoRA smaller: of each layer keep the directions that matter most."""
    from limner.edit import resizing

    began = time.monotonic()
    return _tell_lora(follow(resizing(settings), output, "layer"), output, began)


def follow(edit: "Edit[T]", output: Output, what: str) -> T:
    """Show how far an edit is; returns what it makes."""
    with output.progress(what, 0) as bar:
        while True:
            try:
                progress = next(edit)
            except StopIteration as end:
                return end.value
            bar.total = progress.total
            bar.at(progress.done)


def _tell_lora(made: "Resized", output: Output, began: float) -> dict:
    output.table(("block", "of the change kept"), [(block, f"{share:.2%}") for block, share in made.energy.items()])
    ranks = ", ".join(f"{rank} ({count})" for rank, count in made.ranks.items())
    output.say(f"rank (layers): {ranks}")
    output.result(f"{made.path}: {megabytes(made.size_bytes)}, before {megabytes(made.size_before)}")
    return {
        "file": str(made.path),
        "size_before": made.size_before,
        "size_bytes": made.size_bytes,
        "ranks": made.ranks,
        "energy": made.energy,
    } | _cost(output, began)


def _cost(output: Output, began: float) -> dict[str, Any]:
    from limner.device import peak_memory_bytes

    seconds = time.monotonic() - began
    output.say(f"done in {duration(seconds)}")
    return {"seconds": round(seconds, 3), "peak_memory_bytes": peak_memory_bytes()}
